import type { FloatDtype, Weight, WeightForm } from "../../base/weights.ts";
import type { Checkpoint, ModelWeights } from "../../formats/checkpoint.ts";
import type { ModelConfig } from "../../formats/model-config.ts";

export interface DummyOptions {
  /** Of the model's layers, the first so many. */
  readonly numLayers: number;
  /** The form that a matrix is to have in place of the file's. */
  readonly recast: (form: WeightForm, name: string) => WeightForm;
}

/** f16 holds the first and not the second, as kernels then must hold scales in f32. */
const scales = { 2: 2 ** -8, 4: Math.fround(0.004) } as const;

/** Of sixteen bits of a float type: an exponent of 2^-6, and the bits that may be anything beside it. */
const floatBits = {
  bf16: { exponent: 0x3c80, free: 0x807f },
  f16: { exponent: 0x2400, free: 0x83ff },
} as const;

/**
 * Weights without meaning in a checkpoint's shapes and forms, made from its headers (what vLLM calls
 * `--load-format dummy`): kernels take as long with them as with the real ones. No weight is read.
 *
 * All matrices of a kind are the same bytes here. Steps do not profit from that: packing copies each matrix to memory of
 * its own, in the form that kernels read, so that a step reads as many bytes as with real weights; and what kernels do
 * does not depend on the numbers, as long as these are ordinary ones.
 */
export class DummyWeights implements ModelWeights {
  readonly path: string;
  readonly config: ModelConfig;
  readonly #checkpoint: Checkpoint;
  readonly #recast: DummyOptions["recast"];
  /** The largest of each kind so far; smaller ones are its beginning. */
  readonly #numbers = new Map<FloatDtype | "codes", Uint8Array>();

  constructor(checkpoint: Checkpoint, { numLayers, recast }: DummyOptions) {
    this.path = checkpoint.path;
    this.config = { ...checkpoint.config, numLayers };
    this.#checkpoint = checkpoint;
    this.#recast = recast;
  }

  has(name: string): boolean {
    return this.#checkpoint.has(name);
  }

  linear(module: string): Weight {
    const form = this.#recast(this.#checkpoint.form(module), module);
    const { rows, cols } = form;
    if (form.kind === "dense") {
      const { kind, dtype } = form;
      return { kind, rows, cols, dtype, data: this.#take(dtype, rows * cols * (dtype === "f32" ? 4 : 2)) };
    }
    const { kind, bits, groupSize, activations } = form;
    const codes = this.#take("codes", (rows * cols * bits) / 8);
    const numGroups = (rows * cols) / groupSize;
    const scale = scales[form.scaleBytes];
    const minimums = form.hasMinimums ? new Float32Array(numGroups).fill(-8 * scale) : null;
    const own = { kind, rows, cols, bits, groupSize, activations, codes, minimums };
    const matrix = { ...own, scales: new Float32Array(numGroups).fill(scale) };
    if (form.isReordered !== true) return matrix;
    // The first column as the last one: in order, the kernels would not have to gather.
    const columns = Int32Array.from({ length: cols }, (_, column) => (column + 1) % cols);
    return { kind: "reordered", rows, cols, matrix, columns };
  }

  vector(name: string): Float32Array {
    return new Float32Array(this.#checkpoint.vectorLength(name)).fill(1);
  }

  dropPages(): void {}

  #take(kind: FloatDtype | "codes", numBytes: number): Uint8Array {
    let numbers = this.#numbers.get(kind);
    if (numbers === undefined || numbers.length < numBytes) {
      numbers = repeated(kind === "codes" ? randomBits(0, 0xffff) : randomFloats(kind), numBytes);
      this.#numbers.set(kind, numbers);
    }
    return numbers.subarray(0, numBytes);
  }
}

const periodHalves = 2 ** 18 + 1;

/** Sixteen bits at a time, of which those in `free` are drawn (Lehmer's generator, as of Park and Miller 1988). */
function randomBits(fixed: number, free: number): Uint16Array {
  let state = 1;
  return Uint16Array.from({ length: periodHalves }, () => {
    state = (state * 48_271) % 0x7fffffff;
    return fixed | ((state >>> 8) & free);
  });
}

function randomFloats(dtype: FloatDtype): Uint16Array | Uint32Array {
  const { exponent, free } = floatBits[dtype === "f16" ? "f16" : "bf16"];
  const halves = randomBits(exponent, free);
  // An f32 is a bf16 with more digits.
  return dtype === "f32" ? Uint32Array.from(halves, (half) => half << 16) : halves;
}

function repeated(period: Uint16Array | Uint32Array, numBytes: number): Uint8Array {
  const bytes = new Uint8Array(numBytes);
  const once = new Uint8Array(period.buffer).subarray(0, numBytes);
  bytes.set(once);
  for (let done = once.length; done < numBytes; done *= 2) bytes.copyWithin(done, 0, done);
  return bytes;
}
