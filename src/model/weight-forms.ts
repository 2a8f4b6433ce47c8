import { MillraceError } from "../base/errors.ts";
import type { IntegerWeight, OrderedWeight, ReorderedWeight, Weight, WeightForm } from "../base/weights.ts";
import { toDense } from "../formats/dequantize.ts";

/**
 * Brings matrices that share one packed linear to one form without changing a value: integers to the widest bits,
 * the finest groups and, where one has them, minimums; floats of several types to f32. GGUF's mixed files (q and k
 * in 4 bits, v in 6) need it. Integers of several column orders become f32. Throws `unsupported_format` for integers beside floats, which no one form holds.
 */
export function unifyWeights(weights: readonly Weight[], name: string): readonly Weight[] {
  const reordered = weights.filter((weight) => weight.kind === "reordered");
  if (reordered.length > 0) return unifyReordered(weights, reordered);
  requireOneKind(weights, name);
  const integers = weights.filter((weight) => weight.kind === "integer");
  if (integers.length === weights.length) return unifyIntegers(integers);
  const dtypes = new Set(weights.map((weight) => (weight.kind === "dense" ? weight.dtype : "")));
  return dtypes.size === 1 ? weights : weights.map((weight) => toDense(weight, "f32"));
}

/** Throws `unsupported_format` for integers beside floats, which no one packed form holds. */
export function requireOneKind(parts: readonly { readonly kind: Weight["kind"] }[], name: string): void {
  if (parts.every(({ kind }) => kind === parts[0]!.kind)) return;
  throw new MillraceError(
    "unsupported_format",
    `${name} mixes integer and float matrices, which run as one linear here. Load the model with --dtype bfloat16.`,
  );
}

/** Sums of products of two codes stay exact in 32 bits up to this many columns (native/linear/plan.common.cc). */
const maxIntegerCols = 131_072;
/** Groups are read in runs of so many columns. */
const groupStep = 16;

/** Throws `unsupported_format` for integers whose groups or width no kernel takes. */
export function requireKernel(form: OrderedWeight | WeightForm, name: string): void {
  if (form.kind === "dense") return;
  const { cols, groupSize } = form;
  const instead = "Load the model with --dtype bfloat16, or quantise it again.";
  if (groupSize !== cols && groupSize % groupStep !== 0) {
    throw new MillraceError(
      "unsupported_format",
      `${name} has integers in groups of ${groupSize} over ${cols} columns; groups of a multiple of ${groupStep} run here, or whole rows. ${instead}`,
    );
  }
  if (cols <= maxIntegerCols) return;
  throw new MillraceError(
    "unsupported_format",
    `${name} has ${cols} columns of integers; at most ${maxIntegerCols} run here. ${instead}`,
  );
}

/** In one order of columns, or as f32: matrices that one quantiser made of one input share theirs. */
function unifyReordered(
  weights: readonly Weight[],
  reordered: readonly ReorderedWeight[],
): readonly Weight[] {
  const { columns } = reordered[0]!;
  const isShared = reordered.every((weight) => weight.columns.every((from, col) => from === columns[col]));
  if (!isShared || reordered.length < weights.length) return weights.map((weight) => toDense(weight, "f32"));
  const matrices = unifyIntegers(reordered.map(({ matrix }) => matrix));
  return matrices.map((matrix) => ({
    kind: "reordered",
    rows: matrix.rows,
    cols: matrix.cols,
    matrix,
    columns,
  }));
}

function unifyIntegers(weights: readonly IntegerWeight[]): readonly IntegerWeight[] {
  const type = weights[0]?.blocks?.type;
  if (type !== undefined && weights.every(({ blocks }) => blocks?.type === type)) return weights;
  const groupSize = weights.map((weight) => weight.groupSize).reduce(greatestDivisor);
  const hasMinimums = weights.some((weight) => weight.minimums !== null);
  const bits = weights.some((weight) => weight.bits !== 4 || (weight.minimums !== null) !== hasMinimums)
    ? 8
    : 4;
  const isToken = weights.every((weight) => weight.activations === "int8-token");
  const activations = isToken ? "int8-token" : "unspecified";
  return weights.map((weight) => ({
    kind: "integer",
    rows: weight.rows,
    cols: weight.cols,
    bits,
    groupSize,
    codes: bits === weight.bits ? weight.codes : widenCodes(weight),
    scales: refineGroups(weight.scales, weight.groupSize / groupSize),
    minimums: hasMinimums ? refineMinimums(weight, groupSize) : null,
    activations,
  }));
}

function greatestDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestDivisor(b, a % b);
}

/** 4-bit codes as int8 with the same q: 0 … 15 with minimums, −8 … 7 without. */
function widenCodes({ codes, minimums }: IntegerWeight): Uint8Array {
  const zero = minimums === null ? 8 : 0;
  const wide = new Int8Array(codes.length * 2);
  for (let i = 0; i < codes.length; i += 1) {
    wide[2 * i] = (codes[i]! & 15) - zero;
    wide[2 * i + 1] = (codes[i]! >> 4) - zero;
  }
  return new Uint8Array(wide.buffer);
}

function refineGroups(values: Float32Array, times: number): Float32Array {
  if (times === 1) return values;
  const fine = new Float32Array(values.length * times);
  for (let group = 0; group < values.length; group += 1) {
    fine.fill(values[group]!, group * times, (group + 1) * times);
  }
  return fine;
}

function refineMinimums({ minimums, scales, groupSize }: IntegerWeight, fineGroupSize: number): Float32Array {
  return refineGroups(minimums ?? new Float32Array(scales.length), groupSize / fineGroupSize);
}
