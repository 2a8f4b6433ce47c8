import path from "node:path";
import { isMillraceError } from "../../base/errors.ts";
import type { FloatDtype, IntegerForm, WeightForm } from "../../base/weights.ts";
import type { Checkpoint } from "../../formats/checkpoint.ts";
import { type PlannedModel, planModel } from "../../model/plan-model.ts";
import { takenForm } from "../../model/weight-loader.ts";
import type { EngineOptions } from "../engine-options.ts";

/** What a command needs to be written out. */
interface Source {
  /** As it was given. */
  readonly modelPath: string;
  /** Whether a method that needs floats has to dequantise first. */
  readonly holdsIntegers: boolean;
}

/** A precision that a model could be had in, and what makes it so. */
interface Precision {
  readonly name: "f32" | "bf16" | "w8a8" | "q8_0" | "q4_0";
  readonly recast: (form: WeightForm, name: string) => WeightForm;
  /** Whether the model's own file serves for it. */
  readonly isFlagOnly: boolean;
  /** A command line as it can be run. */
  readonly command: (source: Source) => string;
}

/** From wide to narrow. The integer ones are those of `millrace quantize` and `millrace convert`. */
export const precisions: readonly Precision[] = [
  {
    name: "f32",
    recast: (form) => dense(form, "f32"),
    isFlagOnly: true,
    command: ({ modelPath }) => `millrace serve ${quoted(modelPath)} --dtype float32`,
  },
  {
    name: "bf16",
    recast: (form) => dense(form, "bf16"),
    isFlagOnly: true,
    command: ({ modelPath }) => `millrace serve ${quoted(modelPath)} --dtype bfloat16`,
  },
  {
    name: "w8a8",
    recast: (form, name) =>
      isTable(name) || isRouter(name)
        ? dense(form, "bf16")
        : integers(form, { bits: 8, groupSize: form.cols, activations: "int8-token" }),
    isFlagOnly: false,
    command: ({ modelPath, holdsIntegers }) => {
      const dtype = holdsIntegers ? " --dtype bfloat16" : "";
      return `millrace quantize ${quoted(modelPath)} --scheme w8a8${dtype} --out ${outName(modelPath, "w8a8")}`;
    },
  },
  { name: "q8_0", recast: blocks(8), isFlagOnly: false, command: convertTo("q8_0") },
  {
    name: "q4_0",
    recast: (form, name) => blocks(isTable(name) ? 8 : 4)(form, name),
    isFlagOnly: false,
    command: convertTo("q4_0"),
  },
];

/** A precision of one model. */
export interface PlannedPrecision {
  /** "as it is" where the model's own is none of those that have a name here. */
  readonly name: Precision["name"] | "as it is";
  /** Whether the model is so with the flags that were given. */
  readonly isNow: boolean;
  readonly isFlagOnly: boolean;
  /** Null for the model as it is. */
  readonly command: string | null;
  readonly weightBytes: number;
  readonly planned: PlannedModel;
  readonly recast: Precision["recast"];
}

/**
 * What the model would be in each precision, from wide to narrow, and what it is. All obey `activations`; those whose
 * weights cannot are left out.
 */
export function planPrecisions(
  { modelPath, dtype, activations }: EngineOptions,
  checkpoint: Checkpoint,
  now: PlannedModel,
): PlannedPrecision[] {
  const stored = dtype === "auto" ? now : planModel(checkpoint, { dtype: "auto", activations: "auto" });
  const holdsIntegers = stored.linears.some(({ weightForm }) => weightForm.startsWith("int"));
  const rows = precisions.flatMap((precision): PlannedPrecision[] => {
    const { name, recast, isFlagOnly } = precision;
    const planned = planOrNull(checkpoint, recast, activations);
    if (planned === null) return [];
    const isNow = isSame(planned, now);
    const command = isNow ? null : precision.command({ modelPath, holdsIntegers });
    return [{ name, isNow, isFlagOnly, command, weightBytes: planned.ops.weightBytes, planned, recast }];
  });
  if (rows.some(({ isNow }) => isNow)) return rows;
  const own: PlannedPrecision = {
    name: "as it is",
    isNow: true,
    isFlagOnly: true,
    command: null,
    weightBytes: now.ops.weightBytes,
    planned: now,
    recast: (form) => takenForm(form, dtype),
  };
  return [...rows, own].toSorted((a, b) => b.weightBytes - a.weightBytes);
}

/** Null where `--activations` asks for a form that such weights cannot take. */
function planOrNull(
  checkpoint: Checkpoint,
  recast: Precision["recast"],
  activations: EngineOptions["activations"],
): PlannedModel | null {
  try {
    return planModel(checkpoint, { dtype: "auto", activations, recast });
  } catch (error) {
    if (isMillraceError(error) && error.code === "invalid_option") return null;
    throw error;
  }
}

function isSame(a: PlannedModel, b: PlannedModel): boolean {
  return a.linears.every(({ weightForm, inputForm, sizeBytes }, index) => {
    const other = b.linears[index];
    return other?.weightForm === weightForm && other.inputForm === inputForm && other.sizeBytes === sizeBytes;
  });
}

function convertTo(dtype: "q8_0" | "q4_0"): Precision["command"] {
  return ({ modelPath }) =>
    `millrace convert ${quoted(modelPath)} --dtype ${dtype} --out ${outName(modelPath, `${dtype}.gguf`)}`;
}

/** In the folder where the command is run: "/models/a.gguf" → "a-q8_0.gguf". */
function outName(modelPath: string, ending: string): string {
  return quoted(`${path.basename(path.resolve(modelPath)).replace(/\.gguf$/i, "")}-${ending}`);
}

/** For a shell. */
function quoted(text: string): string {
  return /^[\w./:@%+,=-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

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
