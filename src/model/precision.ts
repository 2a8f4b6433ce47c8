import { MillraceError } from "../base/errors.ts";
import type { FloatDtype, Weight } from "../base/weights.ts";
import { toDense } from "../formats/dequantize.ts";
import type { TensorForm } from "../kernels/ops.ts";
import type { PrecisionOptions } from "./causal-model.ts";

const floatDtypes: Readonly<Record<"bfloat16" | "float16" | "float32", FloatDtype>> = {
  bfloat16: "bf16",
  float16: "f16",
  float32: "f32",
};

/** Decides in which form weights and inputs run, and remembers what has to be said about it. */
export class Precision {
  readonly #options: PrecisionOptions;
  readonly #notes = new Set<string>();
  readonly #inputForms = new Set<TensorForm>();
  readonly #weightKinds = new Set<string>();

  constructor(options: PrecisionOptions) {
    this.#options = options;
  }

  /** Lines to show at load, without repeats. */
  get notes(): string[] {
    return [...this.#notes];
  }

  /** Input forms in use, for people: "int8-block32", or "f32" on the exact path. */
  get activations(): string {
    return [...this.#inputForms].join(" + ");
  }

  /** What the weights became, for people. */
  get dtype(): string {
    return this.#options.dtype === "auto" ? [...this.#weightKinds].join(" + ") : this.#options.dtype;
  }

  note(line: string): void {
    this.#notes.add(line);
  }

  /** Applies `--dtype`: keeps the stored form, or dequantises in f32 and rounds. */
  cast(weight: Weight): Weight {
    const { dtype } = this.#options;
    const result = dtype === "auto" ? weight : toDense(weight, floatDtypes[dtype]);
    this.#weightKinds.add(kindOf(result));
    return result;
  }

  /** The input form of a linear made of `weights`, which are of one kind. */
  inputFormOf(module: string, weights: readonly Weight[]): TensorForm {
    const form = this.#chooseForm(module, weights[0]!);
    this.#inputForms.add(form);
    return form;
  }

  #chooseForm(module: string, weight: Weight): TensorForm {
    const { activations } = this.#options;
    if (activations === "f32") return "f32";
    if (weight.kind === "dense") return this.#chooseDenseForm(weight.dtype);
    if (activations === "bf16") {
      throw new MillraceError(
        "invalid_option",
        `--activations bf16 does not fit ${module}: its weights are ${weight.bits}-bit integers, which take int8, int8-block32 or f32. Choose one of these, or add --dtype bfloat16.`,
        { param: "--activations" },
      );
    }
    if (activations === "int8") return "int8-token";
    if (activations === "auto" && weight.activations === "int8-token") return "int8-token";
    if (weight.cols % 32 !== 0) {
      this.note(`${module} has ${weight.cols} input columns, not a multiple of 32: it takes int8 per token`);
      return "int8-token";
    }
    this.note(
      "integer weights take int8 activations in blocks of 32 (KL about 0.003 on SmolLM2); --activations f32 is the exact path",
    );
    return "int8-block32";
  }

  #chooseDenseForm(dtype: FloatDtype): TensorForm {
    const { activations } = this.#options;
    if (activations === "int8" || activations === "int8-block32") {
      this.note(
        `float weights run with float activations; --activations ${activations} is for integer weights`,
      );
    }
    if (activations === "bf16") return "bf16";
    return dtype === "bf16" ? "bf16" : "f32";
  }
}

/** Short name of a weight's storage: "bf16", "int8 channel", "int4 g32 + min". */
export function kindOf(weight: Weight): string {
  if (weight.kind === "dense") return weight.dtype;
  const scope = weight.groupSize === weight.cols ? "channel" : `g${weight.groupSize}`;
  return `int${weight.bits} ${scope}${weight.minimums === null ? "" : " + min"}`;
}

/** True when the weights can be stacked into one packed matrix. */
export function canStack(weights: readonly Weight[]): boolean {
  const keys = weights.map((weight) =>
    weight.kind === "dense" ? kindOf(weight) : `${kindOf(weight)} ${weight.activations}`,
  );
  return keys.every((key) => key === keys[0]);
}
