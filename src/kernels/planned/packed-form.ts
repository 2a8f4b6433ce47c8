import type { FloatDtype, IntegerForm, WeightForm } from "../../base/weights.ts";
import type { LinearWeight, TensorForm } from "../ops.ts";

/** Rows that the native kernels hold side by side, and the bytes to which they round what they allocate. */
const rowsPerTile = 16;
const lineBytes = 64;

const floatBytes: Readonly<Record<FloatDtype, number>> = { f32: 4, f16: 2, bf16: 2 };

/**
 * One form for matrices that are stacked into one linear, as the kernels make it: integers of the widest bits, the
 * finest groups and, where one has them, minimums; floats of several types as f32, as are reordered integers beside others.
 */
export function joinForms(parts: readonly WeightForm[]): WeightForm {
  const rows = parts.reduce((sum, part) => sum + part.rows, 0);
  const integers = parts.filter((part) => part.kind === "integer");
  const first = parts[0]!;
  const numReordered = integers.filter((part) => part.isReordered === true).length;
  if (first.kind === "dense" || (numReordered > 0 && numReordered < parts.length)) {
    const dtypes = new Set(parts.map((part) => (part.kind === "dense" ? part.dtype : "f32")));
    const [dtype = "f32"] = dtypes.size === 1 ? dtypes : [];
    return { kind: "dense", rows, cols: first.cols, dtype };
  }
  const hasMinimums = integers.some((part) => part.hasMinimums);
  return {
    kind: "integer",
    rows,
    cols: first.cols,
    // 4-bit codes mean code − 8 or code; a mixture needs 8 bits to hold both.
    bits: integers.some((part) => part.bits === 8 || part.hasMinimums !== integers[0]!.hasMinimums) ? 8 : 4,
    groupSize: integers.map((part) => part.groupSize).reduce(greatestDivisor),
    hasMinimums,
    scaleBytes: integers.some((part) => part.scaleBytes === 4) ? 4 : 2,
    activations: integers.every((part) => part.activations === "int8-token") ? "int8-token" : "unspecified",
    isReordered: numReordered > 0,
  };
}

function greatestDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestDivisor(b, a % b);
}

/**
 * What the native kernels make of a matrix: its name for people and its bytes, as `planMatrix` and `packLinear` in
 * native/linear do. Tiles of 16 rows are padded, and columns where tiles of AMX read them; codes and scales are two
 * allocations of whole lines.
 */
export function packedForm(
  form: WeightForm,
  layout: LinearWeight["layout"],
  inputForm: TensorForm,
): Pick<LinearWeight, "weightForm" | "sizeBytes"> {
  const numParts = layout === "paired" ? 2 : 1;
  const numTiles = numParts * Math.ceil(form.rows / numParts / rowsPerTile);
  if (form.kind === "dense") {
    const step = form.dtype !== "bf16" ? 1 : inputForm === "bf16" ? 32 : 2;
    const cols = Math.ceil(form.cols / step) * step;
    const sizeBytes = numTiles * rowsPerTile * cols * floatBytes[form.dtype];
    return { weightForm: form.dtype, sizeBytes: wholeLines(sizeBytes) };
  }
  const isChannel = form.groupSize === form.cols;
  const step = !isChannel ? 1 : form.bits === 8 && inputForm === "int8-token" ? 64 : 32;
  const paddedCols = Math.ceil(form.cols / step) * step;
  const codes = numTiles * rowsPerTile * Math.floor((paddedCols * form.bits) / 8);
  const scales = numTiles * rowsPerTile * (form.cols / form.groupSize) * form.scaleBytes;
  return {
    weightForm: integerName(form, isChannel),
    sizeBytes: wholeLines(codes) + wholeLines(form.hasMinimums ? 2 * scales : scales),
  };
}

function integerName({ bits, groupSize, hasMinimums }: IntegerForm, isChannel: boolean): string {
  return `int${bits}${isChannel ? " channel" : ` g${groupSize}`}${hasMinimums ? " + min" : ""}`;
}

function wholeLines(bytes: number): number {
  return Math.ceil(bytes / lineBytes) * lineBytes;
}
