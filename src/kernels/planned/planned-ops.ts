import { invariant } from "../../base/invariant.ts";
import type { WeightForm } from "../../base/weights.ts";
import type {
  AttentionOptions,
  KvCache,
  KvCacheShape,
  KvHost,
  LinearEpilogue,
  LinearWeight,
  MoeRouting,
  Ops,
  OpsMemory,
  PackOptions,
  RaggedBatch,
  RopeTable,
  Tensor,
  TensorForm,
  VectorWeight,
} from "../ops.ts";
import { packedForm } from "./packed-form.ts";
import { PlannedArena } from "./planned-arena.ts";

/**
 * An `Ops` without numbers: operations give tensors of the right shape and form, weights have the sizes that the
 * native kernels would give them, and nothing is computed or allocated. A model that is built and run over it tells what
 * it takes; `profileOps` around it tells what each operation reads and multiplies.
 */
export class PlannedOps implements Ops {
  readonly backend = "native";
  readonly isa = "none";
  readonly numThreads = 1;
  readonly attentionDtype = "f32";
  readonly #arena: PlannedArena = new PlannedArena();
  #numTokens = 0;
  #nextId = 0;
  #weightBytes = 0;
  #rotationBytesPerPosition = 0;

  /** Weights and vectors; rotation tables beside. */
  get weightBytes(): number {
    return this.#weightBytes;
  }

  /** Of all rotation tables together. */
  get rotationBytesPerPosition(): number {
    return this.#rotationBytesPerPosition;
  }

  /** A packed linear of this form. */
  planLinear(form: WeightForm, { name, inputForm, layout = "rows" }: PackOptions): LinearWeight {
    const packed = packedForm(form, layout, inputForm);
    this.#weightBytes += packed.sizeBytes;
    const own = { id: this.#newId(), name, rows: form.rows, cols: form.cols, layout, ...packed };
    const isReordered = form.kind === "integer" && form.isReordered === true;
    return isReordered ? { ...own, inputForm: "f32", gatheredForm: inputForm } : { ...own, inputForm };
  }

  planVector(length: number): VectorWeight {
    this.#weightBytes += 4 * length;
    return { id: this.#newId(), length };
  }

  packLinear(): never {
    invariant(false, "a plan has forms of weights and no weights");
  }

  freeLinear({ sizeBytes }: LinearWeight): void {
    this.#weightBytes -= sizeBytes;
  }

  loadVector(values: Float32Array): VectorWeight {
    return this.planVector(values.length);
  }

  loadRope(cos: Float32Array, _sin: Float32Array, rotaryDim: number): RopeTable {
    this.#rotationBytesPerPosition += rotaryDim * 4;
    return { id: this.#newId(), rotaryDim, maxPositions: cos.length / (rotaryDim / 2) };
  }

  createKvCache(shape: KvCacheShape): KvCache {
    return { ...shape, id: this.#newId(), sizeBytes: 0 };
  }

  createKvHost(_cache: KvCache, numBlocks: number): KvHost {
    return { id: this.#newId(), numBlocks, sizeBytes: 0 };
  }

  moveKv(): void {}

  equalKv(): boolean {
    return true;
  }

  beginStep(batch: RaggedBatch): void {
    this.#arena.reset();
    this.#numTokens = batch.numTokens;
  }

  endStep(): void {}

  flush(): undefined {
    return undefined;
  }

  embed(table: LinearWeight): Tensor {
    return this.#arena.create(this.#numTokens, table.cols, "f32");
  }

  rmsNorm(x: Tensor, _weight: VectorWeight, _eps: number, as: TensorForm): Tensor {
    return this.#arena.create(x.rows, x.cols, as);
  }

  layerNorm(): void {}

  linear(x: Tensor, weight: LinearWeight, { residual, activation, as = "f32" }: LinearEpilogue = {}): Tensor {
    const cols = activation === undefined ? weight.rows : weight.rows / 2;
    const out = residual ?? this.#arena.create(x.rows, cols, as);
    const gathered = weight.gatheredForm === undefined ? 0 : 4 * x.rows * x.cols;
    this.#arena.borrow(panelBytes(x, weight) + gathered);
    return out;
  }

  gate(x: Tensor): Tensor {
    return this.#arena.create(x.rows, x.cols / 2, "f32");
  }

  convert(x: Tensor, as: TensorForm): Tensor {
    return this.#arena.create(x.rows, x.cols, as);
  }

  addInto(): void {}
  scale(): void {}
  softCap(): void {}
  gelu(): void {}
  ropeAndCache(): void {}

  pagedAttention(
    qkv: Tensor,
    _cache: KvCache,
    _layer: number,
    { numHeads, headDim }: AttentionOptions,
    as: TensorForm,
  ): Tensor {
    const out = this.#arena.create(qkv.rows, numHeads * headDim, as);
    if (as !== "f32") this.#arena.borrow(4 * qkv.rows * numHeads * headDim);
    return out;
  }

  gatherRows(x: Tensor, _indices: Int32Array, count: number): Tensor {
    return this.#arena.create(count, x.cols, x.form);
  }

  /** Every expert gets as many tokens as every other, which is what a router is trained to do. */
  moeRoute(logits: Tensor, { topK, starts }: MoeRouting): void {
    const numPlaces = logits.rows * topK;
    for (let expert = 0; expert <= logits.cols; expert += 1)
      starts[expert] = Math.round((expert * numPlaces) / logits.cols);
  }

  addRows(): void {}
  sample(): void {}
  scoreTargets(): void {}
  diverge(): void {}

  releaseAfter(x: Tensor): void {
    this.#arena.releaseAfter(x);
  }

  read(): never {
    invariant(false, "a plan has no numbers");
  }

  /** `arena` is the most that one step took so far. */
  memory(): OpsMemory {
    return { weights: this.#weightBytes, kvCache: 0, kvHost: 0, arena: this.#arena.peakBytes };
  }

  close(): void {}

  #newId(): number {
    this.#nextId += 1;
    return this.#nextId;
  }
}

/** Rows from which kernels lay activations in panels of their own. */
const fewestPanelRows = 5;

/** Activations as kernels for many rows hold them (native/linear/panel.h): the wider of the instruction sets. */
function panelBytes(x: Tensor, { weightForm }: LinearWeight): number {
  if (x.rows < fewestPanelRows) return 0;
  const perColumn = weightForm.startsWith("int4") ? 1.25 : weightForm.startsWith("int8") ? 2.25 : 4;
  return x.rows * x.cols * perColumn;
}
