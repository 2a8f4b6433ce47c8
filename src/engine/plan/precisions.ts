import type { FloatDtype, IntegerForm, WeightForm } from "../../base/weights.ts";

/** A precision that a model could be had in, and what makes it so. */
export interface Precision {
  readonly name: "f32" | "bf16" | "w8a8" | "q8_0" | "q4_0";
  /** The flags or the command that give it. */
  readonly from: string;
  readonly recast: (form: WeightForm, name: string) => WeightForm;
}

/** From wide to narrow. The integer ones are those of `millrace quantize` and `millrace convert`. */
export const precisions: readonly Precision[] = [
  { name: "f32", from: "--dtype float32", recast: (form) => dense(form, "f32") },
  { name: "bf16", from: "--dtype bfloat16", recast: (form) => dense(form, "bf16") },
  {
    name: "w8a8",
    from: "millrace quantize --scheme w8a8",
    recast: (form, name) =>
      isTable(name) || isRouter(name)
        ? dense(form, "bf16")
        : integers(form, { bits: 8, groupSize: form.cols, activations: "int8-token" }),
  },
  { name: "q8_0", from: "millrace convert --dtype q8_0", recast: blocks(8) },
  {
    name: "q4_0",
    from: "millrace convert --dtype q4_0",
    recast: (form, name) => blocks(isTable(name) ? 8 : 4)(form, name),
  },
];

const blockCols = 32;

/** GGUF's blocks; a matrix of other widths and a router stay as wide as converters leave them. */
function blocks(bits: 8 | 4): Precision["recast"] {
  return (form, name) => {
    if (isRouter(name)) return dense(form, "f32");
    if (form.cols % blockCols !== 0) return dense(form, "f16");
    return integers(form, { bits, groupSize: blockCols, activations: "unspecified" });
  };
}

function dense({ rows, cols }: WeightForm, dtype: FloatDtype): WeightForm {
  return { kind: "dense", rows, cols, dtype };
}

function integers(
  { rows, cols }: WeightForm,
  form: Pick<IntegerForm, "bits" | "groupSize" | "activations">,
): WeightForm {
  return { kind: "integer", rows, cols, hasMinimums: false, scaleBytes: 2, ...form };
}

/** Embedding and head. */
function isTable(name: string): boolean {
  return name === "lm_head" || name.endsWith("embed_tokens");
}

function isRouter(name: string): boolean {
  return name.endsWith(".gate");
}
