import { setImmediate as nextTurn } from "node:timers/promises";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { sliceRows } from "../formats/slice-rows.ts";
import type { Solver } from "../kernels/solver.ts";
import { groupByInput, inputNameOf } from "./calibration/capture-inputs.ts";
import { type FoundInput, type InputSource, nothingFound } from "./input-source.ts";
import type { QuantizationTarget } from "./plan.ts";
import { ValueReader } from "./read-values.ts";
import { rowBands } from "./row-bands.ts";
import type { LinearShape } from "./scheme.ts";
import { normBefore, normOffset } from "./smoothing/fold-sites.ts";
import type { WeightTransform } from "./smoothing/weight-transform.ts";

export interface EstimateParts {
  readonly checkpoint: Checkpoint;
  /** All linears that are quantised, and those that are not. */
  readonly targets: readonly QuantizationTarget[];
  readonly dense: readonly LinearShape[];
  readonly solver: Solver;
  /** Elements that are in memory at a time. */
  readonly bandElements: number;
  /** What is done to weights and inputs before. */
  readonly transform: WeightTransform;
}

/**
 * Estimates what goes into linears from the weights alone. The mean square of a column is carried from what makes it, as if
 * columns were independent: the residual stream is spread over its columns as the embedding is; a norm multiplies by the
 * squares of its gains; columns of o are heads of v, Σ w²·E[x²] each; those of down are products of gate and up.
 *
 * Such estimates and what a text gives go together, loosely (Pearson's r of the logarithms on SmolLM2: 0.47 before q, k, v;
 * 0.44 before gate, up; 0.22; 0.08), and so does the inverse of Σ w² over a column: importance is the geometric mean of the
 * two, which no part of the model is worse with.
 */
export class EstimatedInputs implements InputSource {
  readonly #parts: EstimateParts;
  readonly #readers: ReadonlyMap<string, readonly QuantizationTarget[]>;
  readonly #modules: ReadonlySet<string>;
  readonly #values: ValueReader;
  #residual: Float64Array | null = null;
  #last: { readonly name: string; readonly importance: Float32Array | null } | null = null;

  constructor(parts: EstimateParts) {
    this.#parts = parts;
    this.#readers = groupByInput(parts.targets);
    this.#modules = new Set([...parts.targets, ...parts.dense].map(({ module }) => module));
    this.#values = new ValueReader(parts.solver);
  }

  async find(target: QuantizationTarget): Promise<FoundInput> {
    const name = inputNameOf(target.module);
    if (this.#last?.name !== name) this.#last = { name, importance: await this.#importanceOf(name) };
    const { importance } = this.#last;
    if (importance === null) return nothingFound;
    const factors = this.#parts.transform.columns.get(target.module);
    const own =
      factors === undefined ? importance : importance.map((value, i) => value / (factors[i]! * factors[i]!));
    return { input: { importance: own, heldOutGram: null, factors: null }, fallback: null };
  }

  /** [K], 1 on average; null where the weights tell nothing. */
  async #importanceOf(input: string): Promise<Float32Array | null> {
    const energy = await this.#energyOf(input);
    if (energy === null) return null;
    const squares = new Float64Array(energy.length);
    for (const { source } of this.#readers.get(input)!) await this.#addColumnSquares(source, squares);
    const found = energy.map((value, i) => Math.sqrt(value / squares[i]!));
    const mean = found.reduce((sum, value) => sum + value, 0) / found.length;
    return mean > 0 && mean < Infinity
      ? Float32Array.from(found, (value) => Math.max(value / mean, 1e-6))
      : null;
  }

  /** [K] mean squares of an input, up to a factor that all columns share. */
  async #energyOf(input: string): Promise<Float64Array | null> {
    const [, layer, block, part] = /^(model\.layers\.\d+)\.(.+)\.(\w+)$/.exec(input) ?? [];
    if (layer === undefined) return null;
    const before = `${layer}.${block}`;
    switch (part) {
      case "qkv_proj":
      case "gate_up_proj":
        return this.#normedEnergy(layer, part === "qkv_proj");
      case "o_proj":
        return this.#attendedEnergy(layer, before);
      case "down_proj":
      case "w2":
        return this.#gatedEnergy(layer, before);
      default:
        return null;
    }
  }

  async #normedEnergy(layer: string, isAttention: boolean): Promise<Float64Array> {
    const { checkpoint } = this.#parts;
    this.#residual ??= await this.#embeddingEnergy();
    const norm = normBefore(checkpoint, layer, isAttention ? "self_attn.qkv_proj" : "mlp.gate_up_proj");
    if (norm === null) return this.#residual;
    const gains = checkpoint.vector(norm);
    const offset = normOffset(checkpoint);
    return this.#residual.map((value, i) => value * (gains[i]! + offset) ** 2);
  }

  async #embeddingEnergy(): Promise<Float64Array> {
    const { hiddenSize } = this.#parts.checkpoint.config;
    const energy = new Float64Array(hiddenSize);
    await this.#addColumnSquares("model.embed_tokens", energy);
    const mean = energy.reduce((sum, value) => sum + value, 0) / hiddenSize;
    return energy.map((value) => value / mean);
  }

  /** Heads of queries read the same values, one for one. */
  async #attendedEnergy(layer: string, before: string): Promise<Float64Array | null> {
    const { numHeads, numKvHeads, headDim } = this.#parts.checkpoint.config;
    const normed = await this.#normedEnergy(layer, true);
    const count = numKvHeads * headDim;
    const energy = await this.#rowEnergies(normed, [`${before}.v_proj`, `${before}.qkv_proj`], -count, count);
    if (energy === null) return null;
    const sharing = numHeads / numKvHeads;
    return Float64Array.from({ length: numHeads * headDim }, (_, i) => {
      const head = Math.floor(i / headDim / sharing);
      return energy[head * headDim + (i % headDim)]!;
    });
  }

  async #gatedEnergy(layer: string, before: string): Promise<Float64Array | null> {
    const normed = await this.#normedEnergy(layer, false);
    const cols =
      this.#readers.get(`${before}.down_proj`)?.[0]?.cols ?? this.#readers.get(`${before}.w2`)![0]!.cols;
    const fused = `${before}.gate_up_proj`;
    const gate = await this.#rowEnergies(normed, [`${before}.gate_proj`, `${before}.w1`, fused], 0, cols);
    const up = await this.#rowEnergies(normed, [`${before}.up_proj`, `${before}.w3`, fused], -cols, cols);
    return gate === null || up === null ? null : gate.map((value, i) => value * up[i]!);
  }

  /**
   * Mean squares of `count` outputs of the first of these modules that the model has, from row `first` on, or so many from
   * the last row on where it is negative; null where it has none of them.
   */
  async #rowEnergies(
    energy: Float64Array,
    modules: readonly string[],
    first: number,
    count: number,
  ): Promise<Float64Array | null> {
    const { checkpoint } = this.#parts;
    const module = modules.find((name) => this.#modules.has(name));
    if (module === undefined) return null;
    const { rows, cols } = checkpoint.linear(module);
    const start = first < 0 ? rows + first : first;
    const bias = checkpoint.has(`${module}.bias`) ? checkpoint.vector(`${module}.bias`) : null;
    const found = new Float64Array(count);
    await this.#forEachBand(module, (values, firstRow) => {
      for (let at = 0, row = firstRow - start; at < values.length; at += cols, row += 1) {
        if (row < 0 || row >= count) continue;
        let sum = bias === null ? 0 : bias[start + row]! ** 2;
        for (let j = 0; j < cols; j += 1) sum += values[at + j]! ** 2 * energy[j]!;
        found[row] = sum;
      }
    });
    return found;
  }

  async #addColumnSquares(module: string, sums: Float64Array): Promise<void> {
    const cols = sums.length;
    await this.#forEachBand(module, (values) => {
      for (let at = 0; at < values.length; at += cols)
        for (let j = 0; j < cols; j += 1) sums[j] = sums[j]! + values[at + j]! ** 2;
    });
  }

  async #forEachBand(
    module: string,
    onBand: (values: Float32Array, firstRow: number) => void,
  ): Promise<void> {
    const { checkpoint, bandElements } = this.#parts;
    const weight = checkpoint.linear(module);
    for (const { first, count } of rowBands(weight.rows, weight.cols, bandElements)) {
      onBand(this.#values.read(sliceRows(weight, first, count)), first);
      checkpoint.dropPages();
      await nextTurn();
    }
  }
}
