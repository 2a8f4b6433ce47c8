import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { MillraceError } from "../base/errors.ts";
import { f32ToBf16 } from "../base/half.ts";
import type { IntegerWeight, ReorderedWeight, Weight } from "../base/weights.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { toDense } from "../formats/dequantize.ts";
import type { ModelConfig } from "../formats/model-config.ts";
import type { Ops } from "../kernels/ops.ts";
import { createReferenceOps } from "../kernels/reference/reference-ops.ts";
import type { PrecisionOptions } from "./causal-model.ts";
import { computeLogits } from "./forward-once.ts";
import { type LoadedModel, loadModel } from "./load-model.ts";

const baseConfig: ModelConfig = {
  architecture: "LlamaForCausalLM",
  modelType: "llama",
  hiddenSize: 32,
  intermediateSize: 64,
  numLayers: 2,
  numHeads: 4,
  numKvHeads: 2,
  headDim: 8,
  vocabSize: 50,
  maxPositionEmbeddings: 128,
  rmsNormEps: 1e-5,
  hiddenAct: "silu",
  rope: { theta: 10_000, partialRotaryFactor: 1, scaling: null },
  slidingWindow: null,
  tieWordEmbeddings: true,
  attentionBias: false,
  mlpBias: false,
  experts: null,
  bosTokenId: null,
  eosTokenIds: [],
  padTokenId: null,
  dtype: "bfloat16",
  json: {},
};

function bf16Weight(rows: number, cols: number, seed: number): Weight {
  const elements = Uint16Array.from({ length: rows * cols }, (_, i) =>
    f32ToBf16(Math.sin(i * 7.7 + seed) / 4),
  );
  return { kind: "dense", rows, cols, dtype: "bf16", data: new Uint8Array(elements.buffer) };
}

function int8Weight(rows: number, cols: number, activations: IntegerWeight["activations"]): Weight {
  const codes = Uint8Array.from({ length: rows * cols }, (_, i) => (i * 37) & 255);
  const scales = new Float32Array(rows).fill(1 / 512);
  return {
    kind: "integer",
    rows,
    cols,
    bits: 8,
    groupSize: cols,
    codes,
    scales,
    minimums: null,
    activations,
  };
}

interface Faults {
  readonly config?: Partial<ModelConfig>;
  /** Replaces a linear's weight. */
  readonly linears?: (module: string, rows: number, cols: number) => Weight | undefined;
  readonly vectors?: Readonly<Record<string, Float32Array>>;
}

/** A random model in memory. */
function checkpointOf({ config: changes = {}, linears, vectors = {} }: Faults = {}): Checkpoint {
  const config = { ...baseConfig, ...changes };
  const shapes: Record<string, [number, number]> = {
    q_proj: [32, 32],
    k_proj: [16, 32],
    v_proj: [16, 32],
    o_proj: [32, 32],
    gate_proj: [64, 32],
    up_proj: [64, 32],
    down_proj: [32, 64],
    embed_tokens: [50, 32],
  };
  const missing = (name: string): never => {
    throw new MillraceError("tensor_missing", `${name} is not in the model's files.`);
  };
  const vector = (name: string): Float32Array =>
    vectors[name] ?? (name.includes("norm") ? new Float32Array(32).fill(1) : missing(name));
  return {
    path: "memory",
    format: "safetensors",
    config,
    tensors: [],
    sizeBytes: 0,
    weightFormat: "bf16",
    named: () => [],
    form: (module) => {
      const [rows, cols] = shapes[module.split(".").at(-1)!] ?? missing(module);
      return { kind: "dense", rows, cols, dtype: "bf16" };
    },
    has: (name) => Object.hasOwn(vectors, name),
    linear: (module) => {
      const shape = shapes[module.split(".").at(-1)!] ?? missing(module);
      return linears?.(module, shape[0], shape[1]) ?? bf16Weight(...shape, module.length);
    },
    vector,
    vectorLength: (name) => vector(name).length,
    tokenizer: () => null,
    dropPages: () => undefined,
    close: () => undefined,
  };
}

let ops: Ops;
beforeEach(() => {
  ops = createReferenceOps({ numThreads: 1 });
});
afterEach(() => ops.close());

const auto: PrecisionOptions = { dtype: "auto", activations: "auto" };
const load = (faults: Faults, precision: Partial<PrecisionOptions> = {}, maxModelLen = 64): LoadedModel =>
  loadModel(ops, checkpointOf(faults), { ...auto, ...precision, maxModelLen });

function logitsOf({ model }: LoadedModel, length = 9): number[] {
  const tokenIds = Int32Array.from({ length }, (_, i) => (i * 11) % 50);
  const logits: number[] = [];
  computeLogits({ ops, model, tokenIds, kvDtype: "f32" }, (_first, rows) => logits.push(...rows));
  return logits;
}

/** Columns of a linear in an order without pattern, the same for all of its width. */
function reorderedWeight(rows: number, cols: number, seed: number): ReorderedWeight {
  const codes = Uint8Array.from({ length: rows * cols }, (_, i) => Math.imul(i + seed, 0x9e3779b1) >>> 24);
  const scales = Float32Array.from({ length: (rows * cols) / 16 }, (_, i) => (1 + (i % 5)) / 2048);
  const form = { bits: 8, groupSize: 16, activations: "unspecified" } as const;
  const matrix = { kind: "integer", rows, cols, ...form, codes, scales, minimums: null } as const;
  const columns = Int32Array.from({ length: cols }, (_, i) => (i * 5 + 3) % cols);
  return { kind: "reordered", rows, cols, matrix, columns };
}

describe("columns in activation order", () => {
  const reordered: Faults["linears"] = (module, rows, cols) =>
    module.endsWith("_proj") ? reorderedWeight(rows, cols, module.length) : undefined;
  const asFloats: Faults["linears"] = (module, rows, cols) =>
    module.endsWith("_proj") ? toDense(reorderedWeight(rows, cols, module.length), "f32") : undefined;

  test("run as integers and give what their values in f32 give", () => {
    const integers = load({ linears: reordered }, { activations: "f32" });
    expect(integers.dtype).toBe("bf16, int8 g16");
    const expected = logitsOf(load({ linears: asFloats }, { activations: "f32" }));
    const logits = logitsOf(integers);
    const size = Math.max(...expected.map(Math.abs));
    for (const [i, value] of logits.entries())
      expect(Math.abs(value - expected[i]!)).toBeLessThan(1e-5 * size);
    expect(load({ linears: reordered }).activations).toBe("int8-block32 + bf16");
  });

  test("become f32 where stacked matrices have several orders", () => {
    const turned: Faults["linears"] = (module, rows, cols) => {
      const weight = reordered(module, rows, cols);
      if (weight?.kind !== "reordered" || !module.endsWith("k_proj")) return weight;
      return { ...weight, columns: weight.columns.toReversed() };
    };
    expect(load({ linears: turned }, { activations: "f32" }).dtype).toBe("bf16, f32, int8 g16");
  });
});

describe("precision", () => {
  test("keeps bf16 weights with bf16 activations by default, without a note", () => {
    const loaded = load({});
    expect(loaded).toMatchObject({ notes: [], activations: "bf16", dtype: "bf16" });
  });

  test("takes int8 activations in blocks for weight-only integers, and says what that costs", () => {
    const loaded = load({ linears: (_module, rows, cols) => int8Weight(rows, cols, "unspecified") });
    expect(loaded).toMatchObject({ activations: "int8-block32", dtype: "int8 channel" });
    expect(loaded.notes).toEqual([expect.stringContaining("--activations f32")]);
  });

  test("takes int8 per token where the file says so", () => {
    const linears: Faults["linears"] = (module, rows, cols) =>
      module.endsWith("_proj") ? int8Weight(rows, cols, "int8-token") : undefined;
    expect(load({ linears })).toMatchObject({ notes: [], activations: "int8-token + bf16" });
  });

  test("names the float linears that cannot follow int8", () => {
    const loaded = load({}, { activations: "int8" });
    expect(loaded.activations).toBe("bf16");
    expect(loaded.notes).toEqual([expect.stringMatching(/^model.embed_tokens and 8 more: float weights/)]);
  });

  test("refuses bf16 activations over integers and says what to do", () => {
    const linears: Faults["linears"] = (_module, rows, cols) => int8Weight(rows, cols, "unspecified");
    expect(() => load({ linears }, { activations: "bf16" })).toThrow(/Add --dtype bfloat16/);
    expect(load({ linears }, { activations: "bf16", dtype: "bfloat16" })).toMatchObject({
      activations: "bf16",
      dtype: "bf16",
    });
  });

  test("dequantising first changes nothing but the rounding of weights", () => {
    const linears: Faults["linears"] = (_module, rows, cols) => int8Weight(rows, cols, "unspecified");
    const kept = logitsOf(load({ linears }, { activations: "f32" }));
    const floats = logitsOf(load({ linears }, { activations: "f32", dtype: "float32" }));
    expect(floats).toEqual(kept);
  });
});

describe("checks", () => {
  const codeOf = (faults: Faults, maxModelLen?: number): string => {
    try {
      load(faults, {}, maxModelLen);
    } catch (error) {
      return error instanceof MillraceError ? error.code : `not ours: ${String(error)}`;
    }
    return "loaded";
  };

  test.each([
    ["an unknown architecture", { config: { architecture: "RwkvForCausalLM" } }, "unsupported_architecture"],
    [
      "an architecture named like a method",
      { config: { architecture: "toString" } },
      "unsupported_architecture",
    ],
    ["heads that KV heads do not divide", { config: { numKvHeads: 3 } }, "invalid_model_file"],
    ["an odd head width", { config: { headDim: 7 } }, "invalid_model_file"],
    ["no layers", { config: { numLayers: 0 } }, "invalid_model_file"],
    ["another activation function", { config: { hiddenAct: "gelu" } }, "unsupported_format"],
    ["weights of another shape", { config: { intermediateSize: 96 } }, "invalid_model_file"],
    ["a vocabulary of another size", { config: { vocabSize: 51 } }, "invalid_model_file"],
    ["an untied model without a head", { config: { tieWordEmbeddings: false } }, "tensor_missing"],
    ["a missing bias", { config: { attentionBias: true } }, "tensor_missing"],
    [
      "a norm of another length",
      { vectors: { "model.norm.weight": new Float32Array(31) } },
      "invalid_model_file",
    ],
  ] as const)("refuse %s", (_what, faults, code) => {
    expect(codeOf(faults)).toBe(code);
  });

  test("refuse a context beyond the model's own", () => {
    expect(codeOf({}, 129)).toBe("invalid_option");
    expect(codeOf({}, 128)).toBe("loaded");
  });

  test("list the known architectures", () => {
    expect(() => load({ config: { architecture: "X" } })).toThrow(/LlamaForCausalLM, MistralForCausalLM/);
  });
});

test("uses a bias that the file has and counts absent parts as zeros", () => {
  const vectors = { "model.layers.0.self_attn.v_proj.bias": new Float32Array(16).fill(1) };
  const zeros = { "model.layers.0.self_attn.k_proj.bias": new Float32Array(16) };
  expect(logitsOf(load({ vectors }))).not.toEqual(logitsOf(load({})));
  expect(logitsOf(load({ vectors: zeros }))).toEqual(logitsOf(load({})));
});

test("logits of a long prompt come in slabs of 64 rows and do not depend on the slabs", () => {
  const loaded = load({}, {}, 100);
  const long = logitsOf(loaded, 90);
  expect(long).toHaveLength(90 * 50);
  const tokenIds = Int32Array.from({ length: 90 }, (_, i) => (i * 11) % 50);
  const starts: number[] = [];
  computeLogits({ ops, model: loaded.model, tokenIds, kvDtype: "f32" }, (first) => starts.push(first));
  expect(starts).toEqual([0, 64]);
  expect(logitsOf(loaded, 70)).toEqual(long.slice(0, 70 * 50));
});
