import type { Tensor, TensorForm } from "../ops.ts";

const lineBytes = 64;

/** Places of one step's tensors as the native arena gives them out, without the memory (native/runtime/arena.h). */
export class PlannedArena {
  /** Most bytes in use at once. */
  peakBytes = 0;
  #usedBytes = 0;
  /** [tensors] bytes in use once each was there. */
  readonly #ends: number[] = [];

  reset(): void {
    this.#usedBytes = 0;
    this.#ends.length = 0;
  }

  create(rows: number, cols: number, form: TensorForm): Tensor {
    this.#usedBytes += wholeLines(activationBytes(form, rows, cols));
    this.peakBytes = Math.max(this.peakBytes, this.#usedBytes);
    this.#ends.push(this.#usedBytes);
    return { id: this.#ends.length - 1, rows, cols, form };
  }

  /** Memory that an operation gives back when it is done. */
  borrow(bytes: number): void {
    this.peakBytes = Math.max(this.peakBytes, this.#usedBytes + bytes);
  }

  releaseAfter({ id }: Tensor): void {
    this.#ends.length = id + 1;
    this.#usedBytes = this.#ends[id]!;
  }
}

const elementBytes: Readonly<Record<TensorForm, number>> = {
  f32: 4,
  bf16: 2,
  "int8-token": 1,
  "int8-block32": 1,
};

/** As `activationBytes` in native/linear/linear.h: rows of narrow forms are whole lines, int8 codes have numbers beside. */
function activationBytes(form: TensorForm, rows: number, cols: number): number {
  const rowBytes = cols * elementBytes[form];
  if (form === "f32") return rows * rowBytes;
  const blocks = Math.ceil(cols / 32);
  const sideBytes = form === "bf16" ? 0 : 4 * (form === "int8-token" ? 2 + 2 * blocks : 4 * blocks);
  return rows * (wholeLines(rowBytes) + wholeLines(sideBytes));
}

function wholeLines(bytes: number): number {
  return Math.ceil(bytes / lineBytes) * lineBytes;
}
