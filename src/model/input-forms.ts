import { MillraceError } from "../base/errors.ts";
import type { DenseWeight, IntegerWeight } from "../base/weights.ts";
import type { TensorForm } from "../kernels/ops.ts";
import type { PrecisionOptions } from "./causal-model.ts";

/** Columns that share a scale in the form `int8-block32`. */
const activationBlock = 32;

/** Measured on SmolLM2-135M-Instruct Q4_1: a mean KL of 0.003 against f32 activations. */
const block32Note =
  "What goes into the linears is rounded to int8 in blocks of 32 values, for speed; --activations f32 leaves it as it is, " +
  "and `millrace diff` measures what rounding costs";

/** What of a weight decides, so that headers alone will do. */
type ChosenBy =
  | Pick<DenseWeight, "kind" | "cols" | "dtype">
  | Pick<IntegerWeight, "kind" | "bits" | "cols" | "activations">;

/**
 * Chooses the form in which each linear takes its input, and remembers what has to be told. Weights decide under
 * `auto`; under another choice a weight that cannot follow keeps its own form with a note, or the load is refused.
 */
export class InputForms {
  readonly #activations: PrecisionOptions["activations"];
  readonly #used: Set<TensorForm> = new Set();
  /** A note and the linears that it is about. */
  readonly #exceptions: Map<string, string[]> = new Map();

  constructor(activations: PrecisionOptions["activations"]) {
    this.#activations = activations;
  }

  /** Throws `invalid_option` for bf16 activations over weights that are not bf16. */
  choose(weight: ChosenBy, name: string): TensorForm {
    const form = this.#pick(weight, name);
    this.#used.add(form);
    return form;
  }

  /** The forms in use, for people: "f32", "int8-block32 + bf16". */
  describe(): string {
    return [...this.#used].toSorted((a, b) => rank(a) - rank(b)).join(" + ");
  }

  notes(): string[] {
    const notes = this.#activations === "auto" && this.#used.has("int8-block32") ? [block32Note] : [];
    for (const [note, names] of this.#exceptions) {
      const others = names.length > 1 ? ` and ${names.length - 1} more` : "";
      notes.push(`${names[0]}${others}: ${note}`);
    }
    return notes;
  }

  #pick(weight: ChosenBy, name: string): TensorForm {
    switch (this.#activations) {
      case "auto":
        return this.#auto(weight, name);
      case "f32":
        return "f32";
      case "bf16":
        return requireBf16(weight, name);
      case "int8":
        return weight.kind === "integer" ? "int8-token" : this.#keepFloat(weight, name);
      case "int8-block32":
        return weight.kind === "integer" ? this.#block32(weight, name) : this.#keepFloat(weight, name);
    }
  }

  #auto(weight: ChosenBy, name: string): TensorForm {
    if (weight.kind === "dense") return weight.dtype === "bf16" ? "bf16" : "f32";
    return weight.activations === "int8-token" ? "int8-token" : this.#block32(weight, name);
  }

  #block32(weight: ChosenBy, name: string): TensorForm {
    if (weight.cols % activationBlock === 0) return "int8-block32";
    this.#except(
      `${weight.cols} input columns are no multiple of ${activationBlock}, so activations are f32 instead of int8`,
      name,
    );
    return "f32";
  }

  #keepFloat(weight: ChosenBy, name: string): TensorForm {
    const form = this.#auto(weight, name);
    this.#except(`float weights, so activations are ${form} instead of int8`, name);
    return form;
  }

  #except(note: string, name: string): void {
    const names = this.#exceptions.get(note);
    if (names === undefined) this.#exceptions.set(note, [name]);
    else names.push(name);
  }
}

function rank(form: TensorForm): number {
  return ["int8-token", "int8-block32", "bf16", "f32"].indexOf(form);
}

function requireBf16(weight: ChosenBy, name: string): TensorForm {
  if (weight.kind === "dense" && weight.dtype === "bf16") return "bf16";
  const seen = weight.kind === "dense" ? weight.dtype : `${weight.bits}-bit integers`;
  throw new MillraceError(
    "invalid_option",
    `--activations bf16 takes bf16 weights only; ${name} holds ${seen}. Add --dtype bfloat16, or use --activations auto.`,
    { param: "--activations" },
  );
}
