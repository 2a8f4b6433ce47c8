import { invariant } from "../../base/invariant.ts";
import type { Tensor, TensorForm } from "../ops.ts";

/** A matrix of activations in plain arrays, row-major. */
export interface ReferenceTensor extends Tensor {
  /** f32 and bf16 (values rounded to bf16): [rows, cols]; empty for the int8 forms. */
  readonly values: Float32Array;
  /** int8 forms: [rows, cols]; else empty. */
  readonly codes: Int8Array;
  /** int8-token: [rows]; int8-block32: [rows, cols / 32]; else empty. */
  readonly scales: Float32Array;
}

/** Columns that share one activation scale. */
export function columnsPerScale(form: TensorForm, cols: number): number {
  return form === "int8-block32" ? 32 : cols;
}

/**
 * Tensors of one step. `reset` ends their life; their memory serves the next step where sizes repeat, which they do
 * while decoding. A tensor of an earlier step is refused, as its memory may hold something else.
 */
export class TensorArena {
  /** Tensors in order of creation, each with the number of buffers in use once it was there. */
  #live: Map<Tensor, number> = new Map();
  #used: ArrayBuffer[] = [];
  #free: Map<number, ArrayBuffer[]> = new Map();
  #nextId = 1;
  #sizeBytes = 0;

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  reset(): void {
    this.#live.clear();
    this.#free.clear();
    for (const buffer of this.#used) this.#giveBack(buffer);
    this.#sizeBytes = this.#used.reduce((sum, buffer) => sum + buffer.byteLength, 0);
    this.#used = [];
  }

  /** Ends the life of the tensors made after `tensor`. */
  releaseAfter(tensor: Tensor): void {
    const numUsed = this.#live.get(tensor);
    invariant(numUsed !== undefined, "a tensor is used after its step, or with another backend");
    for (const buffer of this.#used.splice(numUsed)) this.#giveBack(buffer);
    for (const other of this.#live.keys()) if (other.id > tensor.id) this.#live.delete(other);
  }

  /** A tensor with undefined contents. */
  create(rows: number, cols: number, form: TensorForm): ReferenceTensor {
    const isInteger = form === "int8-token" || form === "int8-block32";
    const size = rows * cols;
    const numScales = isInteger ? (rows * cols) / Math.max(1, columnsPerScale(form, cols)) : 0;
    invariant(Number.isInteger(numScales), `${cols} columns do not divide into ${form} scales`);
    const tensor: ReferenceTensor = {
      id: this.#nextId++,
      rows,
      cols,
      form,
      values: new Float32Array(this.#take(isInteger ? 0 : size * 4)),
      codes: new Int8Array(this.#take(isInteger ? size : 0)),
      scales: new Float32Array(this.#take(numScales * 4)),
    };
    this.#live.set(tensor, this.#used.length);
    return tensor;
  }

  /** The arrays behind a handle that `create` gave out since the last reset. */
  get(tensor: Tensor): ReferenceTensor {
    invariant(this.#live.has(tensor), "a tensor is used after its step, or with another backend");
    return tensor as ReferenceTensor;
  }

  /** As `get`, for an operation that takes f32 only. */
  floats(tensor: Tensor): ReferenceTensor {
    invariant(tensor.form === "f32", `an operation on f32 got a tensor in ${tensor.form}`);
    return this.get(tensor);
  }

  #giveBack(buffer: ArrayBuffer): void {
    const sameSize = this.#free.get(buffer.byteLength);
    if (sameSize === undefined) this.#free.set(buffer.byteLength, [buffer]);
    else sameSize.push(buffer);
  }

  #take(sizeBytes: number): ArrayBuffer {
    const kept = this.#free.get(sizeBytes)?.pop();
    const buffer = kept ?? new ArrayBuffer(sizeBytes);
    if (kept === undefined) this.#sizeBytes += sizeBytes;
    this.#used.push(buffer);
    return buffer;
  }
}
