import { MillraceError } from "../../base/errors.ts";
import { bf16ToF32, f16ToF32 } from "../../base/half.ts";
import { invariant } from "../../base/invariant.ts";
import type { DenseWeight, IntegerWeight, OrderedWeight } from "../../base/weights.ts";
import type { LinearWeight, PackOptions, TensorForm } from "../ops.ts";

type DensePart = Omit<DenseWeight, "data"> & { readonly elements: Float32Array | Uint16Array };
type IntegerPart = Omit<IntegerWeight, "codes" | "blocks"> & { readonly codes: Int8Array | Uint8Array };

/** A weight as the reference backend keeps it: copies of the parts in their stored form, rows in given order. */
export interface ReferenceWeight extends LinearWeight {
  readonly parts: readonly (DensePart | IntegerPart)[];
  /** Columns per weight scale and whether there are minimums; 0 for dense weights. */
  readonly groupSize: number;
  readonly hasMinimums: boolean;
  /** As `PackOptions` has them. */
  readonly columns: Int32Array | null;
}

/** Copies and checks the parts. Throws `unsupported_format` for a pair of weight and input form without a kernel. */
export function packReferenceWeight(
  id: number,
  parts: readonly OrderedWeight[],
  options: PackOptions,
): ReferenceWeight {
  const first = parts[0];
  invariant(first !== undefined, `${options.name} has no parts`);
  const { inputForm, name, layout = "rows", columns = null } = options;
  const weightForm = describeForm(first);
  for (const part of parts) {
    invariant(part.cols === first.cols, `parts of ${name} differ in columns`);
    if (describeForm(part) !== weightForm)
      throw refuse(name, `parts in ${weightForm} and ${describeForm(part)}`);
  }
  invariant(layout === "rows" || isPair(parts), `${name} is paired but has not two equal parts`);
  checkInputForm(first, inputForm, name);
  const copies = parts.map(copyPart);
  return {
    id,
    name,
    rows: parts.reduce((sum, part) => sum + part.rows, 0),
    cols: first.cols,
    ...(columns === null ? { inputForm } : { inputForm: "f32", gatheredForm: inputForm }),
    columns,
    weightForm,
    layout,
    sizeBytes: copies.reduce((sum, part) => sum + sizeOf(part), 0),
    parts: copies,
    groupSize: first.kind === "integer" ? first.groupSize : 0,
    hasMinimums: first.kind === "integer" && first.minimums !== null,
  };
}

function isPair(parts: readonly OrderedWeight[]): boolean {
  return parts.length === 2 && parts[0]!.rows === parts[1]!.rows;
}

function checkInputForm(weight: OrderedWeight, form: TensorForm, name: string): void {
  const isInteger = form === "int8-token" || form === "int8-block32";
  if (isInteger && weight.kind === "dense")
    throw refuse(name, `${weight.dtype} weights with ${form} activations`);
  if (form === "int8-block32" && weight.cols % 32 !== 0) {
    throw refuse(name, `${form} activations over ${weight.cols} columns, no multiple of 32`);
  }
}

function refuse(name: string, what: string): MillraceError {
  return new MillraceError(
    "unsupported_format",
    `${name} asks for ${what}, which has no kernel. Use --activations f32, or --dtype bfloat16.`,
  );
}

/** "bf16", "int4 g32 + min", "int8 channel" … */
export function describeForm(weight: OrderedWeight): string {
  if (weight.kind === "dense") return weight.dtype;
  const sharing = weight.groupSize === weight.cols ? "channel" : `g${weight.groupSize}`;
  return `int${weight.bits} ${sharing}${weight.minimums === null ? "" : " + min"}`;
}

function copyPart(part: OrderedWeight): DensePart | IntegerPart {
  if (part.kind === "dense") {
    const { data, ...rest } = part;
    const buffer = data.slice().buffer;
    const elements = part.dtype === "f32" ? new Float32Array(buffer) : new Uint16Array(buffer);
    invariant(elements.length === part.rows * part.cols, "a dense weight has rows · cols elements");
    return { ...rest, elements };
  }
  const numGroups = (part.rows * part.cols) / part.groupSize;
  const { kind, rows, cols, bits, groupSize, activations } = part;
  invariant(part.scales.length === numGroups, "an integer weight has one scale for each group");
  invariant(part.codes.length === (rows * cols * bits) / 8, "an integer weight has all codes");
  const codes = part.codes.slice();
  return {
    kind,
    rows,
    cols,
    bits,
    groupSize,
    activations,
    codes: bits === 8 ? new Int8Array(codes.buffer) : codes,
    scales: part.scales.slice(),
    minimums: part.minimums?.slice() ?? null,
  };
}

function sizeOf(part: DensePart | IntegerPart): number {
  if (part.kind === "dense") return part.elements.byteLength;
  return part.codes.byteLength + part.scales.byteLength + (part.minimums?.byteLength ?? 0);
}

/** Part and row within it of row `row` of the whole. */
function locate(weight: ReferenceWeight, row: number): { part: DensePart | IntegerPart; row: number } {
  let local = row;
  for (const part of weight.parts) {
    if (local < part.rows) return { part, row: local };
    local -= part.rows;
  }
  throw new Error(`Internal fault: row ${row} of ${weight.name} does not exist`);
}

/** Row as float values, w = fround(fround(scale · q) + minimum) for integers. */
export function expandFloats(weight: ReferenceWeight, row: number, into: Float64Array | Float32Array): void {
  const { part, row: local } = locate(weight, row);
  if (part.kind === "dense") {
    expandDense(part, local * part.cols, into);
    return;
  }
  expandCodes(part, local, into);
  const { groupSize, scales, minimums, cols } = part;
  for (let column = 0, group = (local * cols) / groupSize; column < cols; group += 1) {
    const scale = scales[group]!;
    const minimum = minimums === null ? 0 : minimums[group]!;
    for (const end = column + groupSize; column < end; column += 1) {
      into[column] = Math.fround(Math.fround(scale * into[column]!) + minimum);
    }
  }
}

/** Row of an integer weight as q, with the scales and minimums of its groups. */
export function expandIntegers(
  weight: ReferenceWeight,
  row: number,
  into: { readonly q: Float64Array; scales: Float32Array; minimums: Float32Array | null },
): void {
  const { part, row: local } = locate(weight, row);
  invariant(part.kind === "integer", "an integer path on a dense weight");
  expandCodes(part, local, into.q);
  const numGroups = part.cols / part.groupSize;
  const first = local * numGroups;
  into.scales = part.scales.subarray(first, first + numGroups);
  into.minimums = part.minimums?.subarray(first, first + numGroups) ?? null;
}

function expandDense(part: DensePart, start: number, into: Float64Array | Float32Array): void {
  const { elements, cols, dtype } = part;
  if (dtype === "f32") for (let i = 0; i < cols; i += 1) into[i] = elements[start + i]!;
  else if (dtype === "f16") for (let i = 0; i < cols; i += 1) into[i] = f16ToF32(elements[start + i]!);
  else for (let i = 0; i < cols; i += 1) into[i] = bf16ToF32(elements[start + i]!);
}

function expandCodes(part: IntegerPart, row: number, into: Float64Array | Float32Array): void {
  const { codes, cols } = part;
  if (part.bits === 8) {
    for (let i = 0, at = row * cols; i < cols; i += 1, at += 1) into[i] = codes[at]!;
    return;
  }
  const zero = part.minimums === null ? 8 : 0;
  for (let i = 0, at = (row * cols) >> 1; i < cols; i += 2, at += 1) {
    into[i] = (codes[at]! & 15) - zero;
    into[i + 1] = (codes[at]! >> 4) - zero;
  }
}
