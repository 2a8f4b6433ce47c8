import { invariant } from "../base/invariant.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import type { BandReader } from "./band-reader.ts";
import { groupByInput, inputNameOf } from "./calibration/capture-inputs.ts";
import { type FoundInput, type InputSource, leastImportance, nothingFound } from "./input-source.ts";
import type { QuantizationTarget } from "./plan.ts";
import type { LinearShape } from "./scheme.ts";
import { normBefore, normOffset } from "./smoothing/fold-sites.ts";
import { transformRows, type WeightTransform } from "./smoothing/weight-transform.ts";

export interface EstimateParts {
  readonly checkpoint: Checkpoint;
  /** All linears that are quantised, and those that are not. */
  readonly targets: readonly QuantizationTarget[];
  readonly dense: readonly LinearShape[];
  readonly bands: BandReader;
  /** What is done to weights and inputs before. */
  readonly transform: WeightTransform;
}

/** Part of a module's rows. */
interface RowSpan {
  readonly module: string;
  readonly first: number;
  readonly count: number;
}

/** As `normBefore` calls the two parts of a layer. */
const attention = "self_attn.qkv_proj";
const feedForward = "mlp.gate_up_proj";

/**
 * Weighs the columns of linears by what the weights alone tell of their inputs. Mean squares are carried from what makes an
 * input as if its parts were independent: the residual stream is spread over its columns as the embedding is; a norm
 * multiplies by the squares of its gains; columns of o are rows of v, Σ w²·E[x²] each; those of down are rows of gate times
 * rows of up. Such a guess is loose, so that it is divided by Σ w² of the column itself, which goes the other way, and its
 * root counts. Logarithms of what comes of it and of the mean squares of a text have a correlation of 0.47 for q, k, v of
 * SmolLM2, 0.44 for gate and up, 0.22 for o and 0.08 for down; yet without the last the mean KL of iq4_nl is 0.175 in
 * place of 0.154.
 */
export class EstimatedInputs implements InputSource {
  readonly #parts: EstimateParts;
  readonly #readers: ReadonlyMap<string, readonly QuantizationTarget[]>;
  readonly #shapes: ReadonlyMap<string, LinearShape>;
  #residual: Float64Array | null = null;
  #last: { readonly name: string; readonly found: FoundInput } | null = null;

  constructor(parts: EstimateParts) {
    this.#parts = parts;
    this.#readers = groupByInput(parts.targets);
    // By the model's own names: a head may be written of the embedding.
    const targets = parts.targets.map(({ source, rows, cols }) => ({ module: source, rows, cols }));
    this.#shapes = new Map([...targets, ...parts.dense].map((shape) => [shape.module, shape]));
  }

  async find(target: QuantizationTarget): Promise<FoundInput> {
    const name = inputNameOf(target.module);
    if (this.#last?.name !== name) this.#last = { name, found: await this.#estimate(name, target.cols) };
    return this.#last.found;
  }

  async #estimate(input: string, cols: number): Promise<FoundInput> {
    const [, layer, block, part] = /^(model\.layers\.\d+)\.(.+)\.(\w+)$/.exec(input) ?? [];
    if (layer === undefined) return nothingFound;
    const energy = await this.#energyOf(layer, block!, part!, cols);
    invariant(energy === null || energy.length === cols, `${input} is as wide as what was carried to it`);
    const importance = energy === null ? null : await this.#weigh(input, energy);
    if (importance === null) return { input: null, fallback: "untold" };
    return { input: { importance, heldOutGram: null, factors: null }, fallback: null };
  }

  /** [K]; null where no column counts. */
  async #weigh(input: string, energy: Float64Array): Promise<Float32Array | null> {
    const squares = new Float64Array(energy.length);
    for (const { module } of this.#readers.get(input)!) await this.#addColumnSquares(module, squares);
    // A column of zeros is the same however it is rounded.
    const found = energy.map((value, i) => (squares[i]! > 0 ? Math.sqrt(value / squares[i]!) : 0));
    const mean = meanOf(found);
    if (!(mean > 0 && mean < Infinity)) return null;
    return Float32Array.from(found, (value) => Math.max(value / mean, leastImportance));
  }

  /** [K] mean squares of an input, up to a factor that all columns share; null where nothing tells them. */
  async #energyOf(layer: string, block: string, part: string, cols: number): Promise<Float64Array | null> {
    const before = `${layer}.${block}`;
    if (part === "qkv_proj") return this.#normedEnergy(layer, attention);
    if (part === "gate_up_proj") return this.#normedEnergy(layer, feedForward);
    if (part === "o_proj") return this.#attendedEnergy(layer, before);
    return part === "down_proj" || part === "w2" ? this.#gatedEnergy(layer, before, cols) : null;
  }

  /** What goes into one of the two parts of a layer. */
  async #normedEnergy(layer: string, part: typeof attention | typeof feedForward): Promise<Float64Array> {
    const { checkpoint, transform } = this.#parts;
    this.#residual ??= await this.#embeddingEnergy();
    const norm = normBefore(checkpoint, layer, part);
    // Families that norm only what comes out of a block.
    if (norm === null) return this.#residual;
    const weights = transform.vectors.get(norm) ?? checkpoint.vector(norm);
    const offset = normOffset(checkpoint);
    return this.#residual.map((value, i) => value * square(weights[i]! + offset));
  }

  async #embeddingEnergy(): Promise<Float64Array> {
    const energy = new Float64Array(this.#parts.checkpoint.config.hiddenSize);
    await this.#addColumnSquares("model.embed_tokens", energy);
    const mean = meanOf(energy);
    return energy.map((value) => value / mean);
  }

  /** Query heads of a group attend to the same values. */
  async #attendedEnergy(layer: string, before: string): Promise<Float64Array | null> {
    const { numHeads, numKvHeads, headDim } = this.#parts.checkpoint.config;
    const count = numKvHeads * headDim;
    const span = this.#spanOf([`${before}.v_proj`, `${before}.qkv_proj`], count, "last");
    if (span === null) return null;
    const values = await this.#rowEnergies(span, await this.#normedEnergy(layer, attention));
    const sharing = numHeads / numKvHeads;
    return Float64Array.from({ length: numHeads * headDim }, (_, i) => {
      const head = Math.floor(i / headDim / sharing);
      return values[head * headDim + (i % headDim)]!;
    });
  }

  async #gatedEnergy(layer: string, before: string, cols: number): Promise<Float64Array | null> {
    const fused = `${before}.gate_up_proj`;
    const gateSpan = this.#spanOf([`${before}.gate_proj`, `${before}.w1`, fused], cols, "first");
    const upSpan = this.#spanOf([`${before}.up_proj`, `${before}.w3`, fused], cols, "last");
    if (gateSpan === null || upSpan === null) return null;
    const normed = await this.#normedEnergy(layer, feedForward);
    const gate = await this.#rowEnergies(gateSpan, normed);
    const up = await this.#rowEnergies(upSpan, normed);
    return gate.map((value, i) => value * up[i]!);
  }

  /** The first or last rows of whichever of these modules the model has, or null. */
  #spanOf(modules: readonly string[], count: number, end: "first" | "last"): RowSpan | null {
    const shape = modules.map((module) => this.#shapes.get(module)).find((own) => own !== undefined);
    if (shape === undefined) return null;
    const { module, rows } = shape;
    return { module, first: end === "first" ? 0 : rows - count, count };
  }

  /** [count] mean squares of outputs, given those of the input. */
  async #rowEnergies({ module, first, count }: RowSpan, energy: Float64Array): Promise<Float64Array> {
    const { checkpoint } = this.#parts;
    const cols = energy.length;
    const bias = checkpoint.has(`${module}.bias`) ? checkpoint.vector(`${module}.bias`) : null;
    const found = new Float64Array(count);
    await this.#forEachBand(module, (values, firstRow) => {
      for (let at = 0, row = firstRow - first; at < values.length; at += cols, row += 1) {
        if (row < 0 || row >= count) continue;
        let sum = bias === null ? 0 : square(bias[first + row]!);
        for (let j = 0; j < cols; j += 1) sum += square(values[at + j]!) * energy[j]!;
        found[row] = sum;
      }
    });
    return found;
  }

  async #addColumnSquares(module: string, sums: Float64Array): Promise<void> {
    const cols = sums.length;
    await this.#forEachBand(module, (values) => {
      for (let at = 0; at < values.length; at += cols)
        for (let j = 0; j < cols; j += 1) sums[j] = sums[j]! + square(values[at + j]!);
    });
  }

  /** Values as they will be rounded. */
  async #forEachBand(
    module: string,
    onBand: (values: Float32Array, firstRow: number) => void,
  ): Promise<void> {
    const { bands, transform } = this.#parts;
    const shape = this.#shapes.get(module)!;
    await bands.forEachBand(shape, (weight, firstRow) => {
      const values = bands.valuesOf(weight);
      transformRows(values, transform, { module, cols: shape.cols, firstRow });
      onBand(values, firstRow);
    });
  }
}

function square(value: number): number {
  return value * value;
}

function meanOf(values: Float64Array): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
