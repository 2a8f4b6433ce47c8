import type { WeightForm } from "../base/weights.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { type AdaptedRows, addLowRankDeltas, type LowRankDelta } from "../kernels/low-rank-deltas.ts";
import type { LinearWeight, Ops, VectorWeight } from "../kernels/ops.ts";
import { joinForms } from "../kernels/planned/packed-form.ts";
import { PlannedOps } from "../kernels/planned/planned-ops.ts";
import type { CausalModel, PrecisionOptions } from "./causal-model.ts";
import { InputForms } from "./input-forms.ts";
import { checkConfig } from "./load-model.ts";
import { adaptableOf } from "./pack-adapter.ts";
import { findBuilder, findEncoderBuilder, isEncoder } from "./registry.ts";
import { requireKernel, requireOneKind } from "./weight-forms.ts";
import { checkShape, type LinearSpec, takenForm, type WeightLoader } from "./weight-loader.ts";

export interface PlanModelOptions extends PrecisionOptions {
  /** The form that a matrix is to have in place of the file's; as it is by default. */
  readonly recast?: (form: WeightForm, name: string) => WeightForm;
  /** Plans steps of so many tokens of which an adapter of this rank changes all; adapters' weights are not counted. */
  readonly adapted?: { readonly rank: number; readonly numTokens: number } | null;
}

/** A model that has shapes and no numbers. */
export interface PlannedModel {
  readonly model: CausalModel;
  readonly ops: PlannedOps;
  /** In the order in which they are loaded. */
  readonly linears: readonly LinearWeight[];
  readonly notes: readonly string[];
  /** As `LoadedModel` has them. */
  readonly activations: string;
  readonly dtype: string;
}

/**
 * Builds a checkpoint's model from headers alone, in the forms in which `loadModel` would.
 * Throws what `loadModel` throws, as far as headers tell.
 */
export function planModel(checkpoint: Checkpoint, options: PlanModelOptions): PlannedModel {
  const build = findBuilder(checkpoint.config.architecture, checkpoint.path);
  checkConfig(checkpoint.config);
  const loader = new FormLoader(checkpoint, options);
  // Rotation tables are counted for one position; how many there are is chosen later.
  const model = build(loader, checkpoint.config, 1);
  const { adapted = null } = options;
  if (adapted !== null) loader.planAdapter(adapted.rank, adapted.numTokens);
  const { planned: ops, linears, forms } = loader;
  const dtype = [...new Set(linears.map(({ weightForm }) => weightForm))].join(", ");
  return { model, ops, linears, notes: forms.notes(), activations: forms.describe(), dtype };
}

/**
 * Whether a checkpoint's language model or encoder could be loaded, from headers alone. Throws what loading it would
 * throw: for an unknown architecture, for what is missing, and for what has another shape or type.
 */
export function checkLoadable(checkpoint: Checkpoint): void {
  const options: PlanModelOptions = { dtype: "auto", activations: "auto" };
  const { config, path } = checkpoint;
  if (!isEncoder(config.architecture)) planModel(checkpoint, options);
  else findEncoderBuilder(config.architecture, path)(new FormLoader(checkpoint, options), config);
}

/** Gives a definition the forms of its weights, and checks what headers tell of them. */
class FormLoader implements WeightLoader {
  readonly planned: PlannedOps = new PlannedOps();
  readonly ops: Ops;
  readonly forms: InputForms;
  readonly #specs = new Map<LinearWeight, LinearSpec>();
  readonly #adapted: AdaptedRows[] = [];
  readonly #checkpoint: Checkpoint;
  readonly #dtype: PrecisionOptions["dtype"];
  readonly #recast: (form: WeightForm, name: string) => WeightForm;

  constructor(checkpoint: Checkpoint, options: PlanModelOptions) {
    const { dtype, activations, recast, adapted = null } = options;
    this.ops = adapted === null ? this.planned : addLowRankDeltas(this.planned, this.#adapted);
    this.forms = new InputForms(activations);
    this.#checkpoint = checkpoint;
    this.#dtype = dtype;
    this.#recast = recast ?? ((form) => form);
  }

  get linears(): readonly LinearWeight[] {
    return [...this.#specs.keys()];
  }

  /** From now on every linear that adapters can change has a delta on the first `numTokens` rows. */
  planAdapter(rank: number, numTokens: number): void {
    const pack = (rows: number, cols: number): LinearWeight => {
      const form = { kind: "dense", rows, cols, dtype: "f32" } as const;
      const weight = this.planned.planLinear(form, { name: "adapter", inputForm: "f32" });
      this.planned.freeLinear(weight);
      return weight;
    };
    const deltas = new Map<LinearWeight, LowRankDelta>();
    for (const [linear, { parts }] of adaptableOf(this.#specs)) {
      const total = rank * parts.length;
      deltas.set(linear, { a: pack(total, linear.cols), b: pack(linear.rows, total) });
    }
    this.#adapted.push({ deltas, rows: new Int32Array(), weights: new Float32Array(), count: numTokens });
  }

  linear(spec: LinearSpec): LinearWeight {
    const { parts, cols, name, layout = "rows", isTable = false } = spec;
    const stored = parts.map(({ module, rows, slice }) => {
      const shape = { rows: slice?.total ?? rows, cols };
      const whole = this.#checkpoint.form(module);
      checkShape(module, [whole.rows, whole.cols], [shape.rows, shape.cols]);
      const keepsColumns = this.#dtype === "auto" && isTable && isReordered(whole);
      const form = takenForm({ ...whole, rows }, keepsColumns ? "float32" : this.#dtype);
      return this.#recast(form, name);
    });
    if (!stored.some(isReordered)) requireOneKind(stored, name);
    const form = joinForms(stored);
    requireKernel(form, name);
    const inputForm = spec.inputForm ?? this.forms.choose(form, name);
    const weight = this.planned.planLinear(form, { name, inputForm, layout });
    this.#specs.set(weight, spec);
    return weight;
  }

  vector(name: string, length: number): VectorWeight {
    checkShape(name, [this.#checkpoint.vectorLength(name)], [length]);
    return this.planned.planVector(length);
  }

  bias({ parts }: LinearSpec, isRequired: boolean): { readonly bias?: VectorWeight } {
    const present = parts.filter(({ module }) => isRequired || this.#checkpoint.has(`${module}.bias`));
    if (present.length === 0) return {};
    for (const { module, rows, slice } of present) {
      const name = `${module}.bias`;
      checkShape(name, [this.#checkpoint.vectorLength(name)], [slice?.total ?? rows]);
    }
    return { bias: this.planned.planVector(parts.reduce((sum, part) => sum + part.rows, 0)) };
  }
}

function isReordered(form: WeightForm): boolean {
  return form.kind === "integer" && form.isReordered === true;
}
