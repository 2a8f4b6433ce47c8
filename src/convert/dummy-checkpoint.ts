import { createHash } from "node:crypto";
import path from "node:path";
import { MillraceError } from "../base/errors.ts";
import type { DenseWeight } from "../base/weights.ts";
import type { Checkpoint, NamedShape, TensorInfo, TokenizerSource } from "../formats/checkpoint.ts";
import { readJsonObject } from "../formats/json-file.ts";
import { type ModelConfig, parseModelConfig } from "../formats/model-config.ts";
import { readTokenizerFolder } from "../formats/tokenizer-source.ts";
import { listParameters } from "../model/list-parameters.ts";

/**
 * A model with made-up weights, from a config.json alone: right in every name and shape, for measuring speed and
 * memory and for testing readers. Matrices are uniform in ±sqrt(3 / K), so that each keeps the size of what goes
 * through it and logits stay finite; norms are ones, biases zeros. A tensor depends on the seed and its name only,
 * and is made when it is asked for: one is in memory at a time.
 */
export class DummyCheckpoint implements Checkpoint {
  readonly path: string;
  readonly format = "safetensors" as const;
  readonly config: ModelConfig;
  readonly tensors: readonly TensorInfo[];
  readonly sizeBytes: number;
  readonly weightFormat = "dummy bf16";
  readonly #shapes: ReadonlyMap<string, readonly number[]>;
  readonly #seed: number;

  /** Throws `file_not_found`, `invalid_model_file`, `unsupported_architecture`, `unsupported_format`. */
  constructor(configFile: string, seed: number) {
    this.path = configFile;
    this.config = parseModelConfig(readJsonObject(configFile), {
      file: configFile,
      onArchitecture: () => {},
    });
    const parameters = listParameters(this.config, configFile);
    this.tensors = parameters.map(({ name, shape }) => ({
      name,
      dtype: "BF16",
      shape,
      sizeBytes: 2 * shape.reduce((product, size) => product * size, 1),
      file: configFile,
    }));
    this.sizeBytes = this.tensors.reduce((sum, tensor) => sum + tensor.sizeBytes, 0);
    this.#shapes = new Map(parameters.map(({ name, shape }) => [name, shape]));
    this.#seed = seed;
  }

  named(): readonly NamedShape[] {
    return this.tensors;
  }

  has(name: string): boolean {
    return this.#shapes.has(name) || this.#shapes.has(`${name}.weight`);
  }

  form(module: string): Omit<DenseWeight, "data"> {
    const [rows, cols] = this.#shape(this.#matrixName(module), 2) as [number, number];
    return { kind: "dense", rows, cols, dtype: "bf16" };
  }

  linear(module: string): DenseWeight {
    const form = this.form(module);
    const seed = seedOf(this.#seed, this.#matrixName(module));
    const values = uniformBf16(form.rows * form.cols, Math.sqrt(3 / form.cols), seed);
    return { ...form, data: new Uint8Array(values.buffer) };
  }

  vectorLength(name: string): number {
    return this.#shape(name, 1)[0]!;
  }

  vector(name: string): Float32Array {
    return new Float32Array(this.vectorLength(name)).fill(name.endsWith(".bias") ? 0 : 1);
  }

  tokenizer(): TokenizerSource | null {
    return readTokenizerFolder(path.dirname(this.path));
  }

  dropPages(): void {}

  close(): void {}

  #matrixName(module: string): string {
    const isTiedHead = module === "lm_head" && this.config.tieWordEmbeddings;
    return `${isTiedHead ? "model.embed_tokens" : module}.weight`;
  }

  #shape(name: string, dimensions: number): readonly number[] {
    const shape = this.#shapes.get(name);
    if (shape?.length === dimensions) return shape;
    throw new MillraceError(
      "tensor_missing",
      `A model of ${this.path} reads no tensor ${name} of ${dimensions} dimensions. Use a config.json of the same family.`,
    );
  }
}

function seedOf(seed: number, name: string): number {
  return createHash("sha256").update(`${seed} ${name}`).digest().readUInt32LE(0);
}

/** Marsaglia's xorshift with 32 bits (2003), whose state must not be 0; rounded towards zero to bf16. */
function uniformBf16(count: number, bound: number, seed: number): Uint16Array {
  const out = new Uint16Array(count);
  const value = new Float32Array(1);
  const bits = new Uint32Array(value.buffer);
  const scale = bound / 2 ** 31;
  let state = seed | 1;
  for (let i = 0; i < count; i += 1) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    value[0] = state * scale;
    out[i] = bits[0]! >>> 16;
  }
  return out;
}
