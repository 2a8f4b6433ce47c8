import { MillraceError } from "../base/errors.ts";
import type { FloatDtype, Weight, WeightForm } from "../base/weights.ts";
import type { ModelWeights } from "../formats/checkpoint.ts";
import { toDense, withColumnsInOrder } from "../formats/dequantize.ts";
import { sliceRows } from "../formats/slice-rows.ts";
import type { LinearWeight, Ops, TensorForm, VectorWeight } from "../kernels/ops.ts";
import type { PrecisionOptions } from "./causal-model.ts";
import { InputForms } from "./input-forms.ts";
import { requireKernel, unifyWeights } from "./weight-forms.ts";

/** Modules of a checkpoint that become one packed linear. */
export interface LinearSpec {
  /** Stacked along the rows. */
  readonly parts: readonly LinearPart[];
  readonly cols: number;
  /** Name of the packed linear. */
  readonly name: string;
  readonly layout?: "rows" | "paired";
  /** In place of what the choice of activations gives: routers run in f32. */
  readonly inputForm?: TensorForm;
  /** Its rows are also read one by one, as those of an embedding: columns must be in order. */
  readonly isTable?: boolean;
  /** Belongs to an expert of a mixture, which gets some tokens of the batch only. */
  readonly isExpert?: boolean;
}

/** A stored matrix with its expected rows, or `rows` of its `total` rows from `first` on. */
export interface LinearPart {
  readonly module: string;
  readonly rows: number;
  readonly slice?: { readonly first: number; readonly total: number };
}

const floatDtypes: Readonly<Record<Exclude<PrecisionOptions["dtype"], "auto">, FloatDtype>> = {
  bfloat16: "bf16",
  float16: "f16",
  float32: "f32",
};

/** The form that `--dtype` gives a stored matrix. */
export function takenForm(form: WeightForm, dtype: PrecisionOptions["dtype"]): WeightForm {
  const { rows, cols } = form;
  return dtype === "auto" ? form : { kind: "dense", rows, cols, dtype: floatDtypes[dtype] };
}

/** Where a model's definition gets its weights from, by Hugging Face name and expected shape. */
export interface WeightLoader {
  readonly ops: Ops;
  linear(spec: LinearSpec): LinearWeight;
  /** (stored + offset) · scale; 0 and 1 by default. */
  vector(name: string, length: number, offset?: number, scale?: number): VectorWeight;
  /**
   * The biases of a linear's parts as one vector, ready for its epilogue. Parts without one count as zeros, unless
   * the configuration says that there is one.
   */
  bias(spec: LinearSpec, isRequired: boolean): { readonly bias?: VectorWeight };
}

/** Takes a checkpoint's weights to a backend under one choice of precision, checking every shape. */
export class CheckpointLoader implements WeightLoader {
  readonly ops: Ops;
  readonly forms: InputForms;
  /** Forms of the packed weights, for people. */
  readonly weightForms: Set<string> = new Set();
  /** What was packed, and of what. */
  readonly linears: Map<LinearWeight, LinearSpec> = new Map();
  readonly #checkpoint: ModelWeights;
  readonly #dtype: PrecisionOptions["dtype"];

  constructor(ops: Ops, checkpoint: ModelWeights, options: PrecisionOptions) {
    this.ops = ops;
    this.forms = new InputForms(options.activations);
    this.#checkpoint = checkpoint;
    this.#dtype = options.dtype;
  }

  /** Throws `tensor_missing`, `invalid_model_file`, `unsupported_format`, or what `InputForms.choose` throws. */
  linear(spec: LinearSpec): LinearWeight {
    const { name, layout = "rows", isTable = false } = spec;
    const stored = spec.parts.map((part) => this.#matrix(part, spec.cols));
    const unified = unifyWeights(isTable ? stored.map(withColumnsInOrder) : stored, name);
    const [first] = unified;
    const columns = first?.kind === "reordered" ? first.columns : null;
    const parts = unified.map((weight) => (weight.kind === "reordered" ? weight.matrix : weight));
    requireKernel(parts[0]!, name);
    const inputForm = spec.inputForm ?? this.forms.choose(parts[0]!, name);
    const packed = this.ops.packLinear(parts, { name, inputForm, layout, columns });
    this.weightForms.add(packed.weightForm);
    this.linears.set(packed, spec);
    // The packed form has all of it: else a model would be in memory twice while it loads.
    this.#checkpoint.dropPages();
    return packed;
  }

  /** Throws `tensor_missing` or `invalid_model_file`. */
  vector(name: string, length: number, offset = 0, scale = 1): VectorWeight {
    const values = this.#values(name, length);
    const isChanged = offset !== 0 || scale !== 1;
    return this.ops.loadVector(isChanged ? values.map((x) => Math.fround(x + offset) * scale) : values);
  }

  /** Throws `tensor_missing` for a bias that is required. */
  bias({ parts }: LinearSpec, isRequired: boolean): { readonly bias?: VectorWeight } {
    const isPresent = (module: string): boolean => this.#checkpoint.has(`${module}.bias`);
    if (!isRequired && !parts.some(({ module }) => isPresent(module))) return {};
    const values = new Float32Array(parts.reduce((sum, part) => sum + part.rows, 0));
    let at = 0;
    for (const { module, rows, slice } of parts) {
      if (isRequired || isPresent(module)) {
        const stored = this.#values(`${module}.bias`, slice?.total ?? rows);
        values.set(slice === undefined ? stored : stored.subarray(slice.first, slice.first + rows), at);
      }
      at += rows;
    }
    return { bias: this.ops.loadVector(values) };
  }

  #matrix({ module, rows, slice }: LinearPart, cols: number): Weight {
    const whole = this.#checkpoint.linear(module);
    checkShape(module, [whole.rows, whole.cols], [slice?.total ?? rows, cols]);
    const weight = slice === undefined ? whole : sliceRows(whole, slice.first, rows);
    return this.#dtype === "auto" ? weight : toDense(weight, floatDtypes[this.#dtype]);
  }

  #values(name: string, length: number): Float32Array {
    const values = this.#checkpoint.vector(name);
    checkShape(name, [values.length], [length]);
    return values;
  }
}

/** Throws `invalid_model_file` where a weight's shape is not what the definition expects. */
export function checkShape(name: string, seen: readonly number[], expected: readonly number[]): void {
  if (seen.every((size, i) => size === expected[i])) return;
  throw new MillraceError(
    "invalid_model_file",
    `${name} has shape [${seen.join(", ")}]; the model's configuration asks for [${expected.join(", ")}]. Fetch the model again, or correct its config.json.`,
  );
}
