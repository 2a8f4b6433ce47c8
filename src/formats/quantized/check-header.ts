import { MillraceError } from "../../base/errors.ts";
import type { TensorHeader } from "../stored-tensor.ts";

/** `tensor` is not what its format asks for. */
export function unfit({ name, dtype, shape }: TensorHeader, expected: string): MillraceError {
  return new MillraceError(
    "invalid_model_file",
    `${name} is ${dtype} [${shape.join(", ")}]; it should be ${expected}. Fetch the model again; config.json and weights may be of different checkpoints.`,
  );
}

export function numElements({ shape }: TensorHeader): number {
  return shape.reduce((product, size) => product * size, 1);
}

export function hasShape(tensor: TensorHeader, dtype: string, shape: readonly number[]): boolean {
  return (
    tensor.dtype === dtype &&
    tensor.shape.length === shape.length &&
    shape.every((size, i) => size === tensor.shape[i])
  );
}

/** A list of values, whatever dimensions of 1 the file gives it. Throws `invalid_model_file`. */
export function checkList(tensor: TensorHeader, dtype: string, count: number): void {
  if (tensor.dtype !== dtype || numElements(tensor) !== count) throw unfit(tensor, `${dtype} [${count}]`);
}
