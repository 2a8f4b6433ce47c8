import { MillraceError } from "../base/errors.ts";
import type { Weight } from "../base/weights.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { toDense } from "../formats/dequantize.ts";
import type { LinearWeight, Ops, VectorWeight } from "../kernels/ops.ts";
import { canStack, kindOf, type Precision } from "./precision.ts";

/** One matrix of a packed linear: its module name and the rows that the configuration promises. */
export interface LinearPart {
  readonly module: string;
  readonly rows: number;
}

/** Takes weights from a checkpoint, checks their shapes against the configuration and packs them. */
export class WeightLoader {
  readonly ops: Ops;
  readonly checkpoint: Checkpoint;
  readonly precision: Precision;
  readonly #onTensor: () => void;

  constructor(ops: Ops, checkpoint: Checkpoint, precision: Precision, onTensor: () => void) {
    this.ops = ops;
    this.checkpoint = checkpoint;
    this.precision = precision;
    this.#onTensor = onTensor;
  }

  /**
   * Packs one module, or several stacked along their rows. Parts of different kinds cannot share a kernel: they are
   * then widened to f32, which keeps every value, and a note says so.
   *
   * Errors: `tensor_missing`, `invalid_model_file` for a wrong shape.
   */
  linear(parts: readonly LinearPart[], cols: number, layout: "rows" | "paired" = "rows"): LinearWeight {
    let weights = parts.map((part) => this.#read(part, cols));
    const name = parts.map((part) => part.module).join(" + ");
    if (!canStack(weights)) {
      const kinds = weights.map(kindOf).join(", ");
      this.precision.note(`${name} mix ${kinds}: they run as f32 weights, which need more memory`);
      weights = weights.map((weight) => toDense(weight, "f32"));
    }
    const inputForm = this.precision.inputFormOf(name, weights);
    return this.ops.packLinear(weights, { name, inputForm, layout });
  }

  /** A norm weight [length]. */
  vector(name: string, length: number): VectorWeight {
    return this.ops.loadVector(this.#readVector(name, length));
  }

  /** The biases of stacked parts, or undefined when none of them has one. Parts without a bias get zeros. */
  bias(parts: readonly LinearPart[]): VectorWeight | undefined {
    if (!parts.some((part) => this.checkpoint.has(`${part.module}.bias`))) return undefined;
    const total = parts.reduce((sum, part) => sum + part.rows, 0);
    const values = new Float32Array(total);
    let offset = 0;
    for (const part of parts) {
      const name = `${part.module}.bias`;
      if (this.checkpoint.has(name)) values.set(this.#readVector(name, part.rows), offset);
      offset += part.rows;
    }
    return this.ops.loadVector(values);
  }

  #read(part: LinearPart, cols: number): Weight {
    const weight = this.checkpoint.linear(part.module);
    if (weight.rows !== part.rows || weight.cols !== cols) {
      throw new MillraceError(
        "invalid_model_file",
        `${part.module} in ${this.checkpoint.path} is [${weight.rows}, ${weight.cols}], but the configuration asks for [${part.rows}, ${cols}]. The weights and config.json are not of the same model; fetch both again.`,
      );
    }
    this.#onTensor();
    return this.precision.cast(weight);
  }

  #readVector(name: string, length: number): Float32Array {
    const values = this.checkpoint.vector(name);
    if (values.length !== length) {
      throw new MillraceError(
        "invalid_model_file",
        `${name} in ${this.checkpoint.path} has ${values.length} elements, but the configuration asks for ${length}. The weights and config.json are not of the same model; fetch both again.`,
      );
    }
    return values;
  }
}
