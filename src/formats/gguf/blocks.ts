import type { IntegerWeight, Weight, WeightBlocks, WeightForm } from "../../base/weights.ts";
import { type BlockFormat, blockFormats, type Groups } from "./block-formats.ts";
import { unpermuteRows } from "./row-order.ts";

/** A tensor's raw rows, in the file's order. */
export interface RawMatrix {
  readonly type: string;
  readonly rows: number;
  readonly cols: number;
  readonly data: Uint8Array;
  /** See `WeightBlocks`; 0 where left out. */
  readonly pairedHeadDim?: number;
}

const floats: Readonly<Partial<Record<string, "f32" | "f16" | "bf16">>> = {
  F32: "f32",
  F16: "f16",
  BF16: "bf16",
};

/** Types whose blocks kernels read where they lie. */
const kernelTypes: ReadonlySet<string> = new Set<WeightBlocks["type"]>([
  "Q4_0",
  "Q4_1",
  "Q5_0",
  "Q5_1",
  "Q8_0",
  "Q6_K",
]);

/** The tensor types that become weights. */
export const readableTypes: readonly string[] = [...Object.keys(floats), ...Object.keys(blockFormats)];

/** A matrix as a weight, integers and scales unchanged; undefined for a type that is not read. */
export function readBlocks(matrix: RawMatrix): Weight | undefined {
  const { type, rows, cols, data, pairedHeadDim = 0 } = matrix;
  const dtype = floats[type];
  if (dtype !== undefined) {
    return { kind: "dense", rows, cols, dtype, data: inOrder(data, data.length / rows, pairedHeadDim) };
  }
  const format = Object.hasOwn(blockFormats, type) ? blockFormats[type] : undefined;
  return format === undefined ? undefined : new BlockWeight(matrix, format);
}

/** What `readBlocks` gives for a matrix of this type. */
export function blockForm(type: string, rows: number, cols: number): WeightForm | undefined {
  const dtype = floats[type];
  if (dtype !== undefined) return { kind: "dense", rows, cols, dtype };
  const format = Object.hasOwn(blockFormats, type) ? blockFormats[type] : undefined;
  if (format === undefined) return undefined;
  const { read: _read, ...form } = format;
  return { kind: "integer", rows, cols, activations: "unspecified", ...form };
}

function isKernelType(type: string): type is WeightBlocks["type"] {
  return kernelTypes.has(type);
}

function inOrder(data: Uint8Array, rowBytes: number, pairedHeadDim: number): Uint8Array {
  return pairedHeadDim === 0 ? data : unpermuteRows(data, rowBytes, pairedHeadDim);
}

/** Codes, scales and minimums are made when one of them is first asked for: kernels that know the blocks never do. */
class BlockWeight implements IntegerWeight {
  readonly kind = "integer";
  readonly activations = "unspecified";
  readonly rows: number;
  readonly cols: number;
  readonly bits: 8 | 4;
  readonly groupSize: number;
  readonly blocks?: WeightBlocks;
  readonly #format: BlockFormat;
  readonly #matrix: RawMatrix;
  #groups: Groups | null = null;

  constructor(matrix: RawMatrix, format: BlockFormat) {
    const { type, rows, cols, data, pairedHeadDim = 0 } = matrix;
    this.rows = rows;
    this.cols = cols;
    this.bits = format.bits;
    this.groupSize = format.groupSize;
    if (isKernelType(type)) this.blocks = { type, data, pairedHeadDim };
    this.#format = format;
    this.#matrix = matrix;
  }

  get codes(): Uint8Array {
    return this.#read().codes;
  }

  get scales(): Float32Array {
    return this.#read().scales;
  }

  get minimums(): Float32Array | null {
    return this.#format.hasMinimums ? this.#read().minimums : null;
  }

  #read(): Groups {
    const { rows, cols, data, pairedHeadDim = 0 } = this.#matrix;
    this.#groups ??= this.#format.read(inOrder(data, data.length / rows, pairedHeadDim), rows * cols);
    return this.#groups;
  }
}
