import type { Progress } from "../../base/progress.ts";
import type { Solver } from "../../kernels/solver.ts";
import { factorInput } from "../gptq.ts";
import { type FoundInput, type InputSource, leastImportance, nothingFound } from "../input-source.ts";
import type { QuantizationTarget } from "../plan.ts";
import { divideInput, type WeightTransform } from "../smoothing/weight-transform.ts";
import { inputNameOf } from "./capture-inputs.ts";
import type { InputStatistics, StatisticsCollector } from "./collect-statistics.ts";

export interface CalibratedParts {
  readonly collector: StatisticsCollector;
  readonly solver: Solver;
  /** Whether factors for passing errors on are wanted too. */
  readonly isPassingOn: boolean;
  /** In the order in which they will be asked for: those that share an input one after the other. */
  readonly targets: readonly QuantizationTarget[];
  /** Bytes of statistics that are in memory at a time; those of one layer at least. */
  readonly statisticsBytes: number;
  /** What is done to weights and inputs before. */
  readonly transform: WeightTransform;
  readonly progress: Progress;
}

/** Runs the model on calibration tokens whenever an input is asked for that is not known yet. */
export class CalibratedInputs implements InputSource {
  readonly #parts: CalibratedParts;
  #statistics: ReadonlyMap<string, InputStatistics> = new Map();
  #last: { readonly name: string; readonly found: FoundInput } | null = null;

  constructor(parts: CalibratedParts) {
    this.#parts = parts;
  }

  async find(target: QuantizationTarget): Promise<FoundInput> {
    if (!isInLayer(target)) return nothingFound;
    const name = inputNameOf(target.module);
    if (this.#last?.name === name) return this.#last.found;
    // One at a time: a factor is as large as its statistics.
    this.#last = null;
    if (!this.#statistics.has(name)) await this.#collectFrom(target);
    const statistics = this.#statistics.get(name)!;
    const factors = this.#parts.transform.columns.get(target.module);
    const found = this.#describe(factors === undefined ? statistics : divideInput(statistics, factors));
    this.#last = { name, found };
    return found;
  }

  #describe(statistics: InputStatistics): FoundInput {
    const { isPassingOn, solver } = this.#parts;
    const { numRows, energy, heldOutGram, cols } = statistics;
    if (numRows === 0) return { input: null, fallback: "unseen" };
    const mean = energy.reduce((sum, value) => sum + value, 0) / cols;
    if (!(mean > 0)) return { input: null, fallback: "silent" };
    // Every rounding would have the same error there, 0.
    if (!energy.some((_, i) => heldOutGram[i * cols + i]! > 0)) return { input: null, fallback: "unjudged" };
    const importance = energy.map((value) => Math.max(value / mean, leastImportance));
    if (!isPassingOn) return { input: { importance, heldOutGram, factors: null }, fallback: null };
    const factors = factorInput(statistics, solver);
    const input = { importance, heldOutGram, factors };
    if (factors === null) return { input, fallback: "singular" };
    return { input, fallback: factors.damping > 0.01 ? "damped" : null };
  }

  /** Statistics of whole layers, from that of `first` on, as many as fit. */
  async #collectFrom(first: QuantizationTarget): Promise<void> {
    const { collector, targets, statisticsBytes, progress, isPassingOn } = this.#parts;
    this.#statistics = new Map();
    const inputs = new Map<string, number>();
    let bytes = 0;
    const from = targets.indexOf(first);
    for (const layer of inputsByLayer(targets.slice(from))) {
      const size = statisticsSize(layer.values(), isPassingOn);
      if (inputs.size > 0 && bytes + size > statisticsBytes) break;
      bytes += size;
      for (const [name, cols] of layer) inputs.set(name, cols);
    }
    this.#statistics = await collector.collect(inputs, { hasGram: isPassingOn, progress });
  }
}

function isInLayer({ source }: QuantizationTarget): boolean {
  return source.startsWith("model.layers.");
}

/** Names and widths of the inputs of each layer. */
function inputsByLayer(targets: readonly QuantizationTarget[]): readonly ReadonlyMap<string, number>[] {
  const layers = new Map<string, Map<string, number>>();
  for (const { module, cols } of targets.filter(isInLayer)) {
    const layer = /^model\.layers\.\d+/.exec(module)?.[0] ?? module;
    layers.set(layer, (layers.get(layer) ?? new Map<string, number>()).set(inputNameOf(module), cols));
  }
  return [...layers.values()];
}

/** Bytes of the statistics of each layer of `targets`. */
export function layerStatisticsBytes(
  targets: readonly QuantizationTarget[],
  isPassingOn: boolean,
): readonly number[] {
  return inputsByLayer(targets).map((layer) => statisticsSize(layer.values(), isPassingOn));
}

/** One or two Gram matrices of each input. */
function statisticsSize(widths: Iterable<number>, isPassingOn: boolean): number {
  let bytes = 0;
  for (const cols of widths) bytes += (isPassingOn ? 2 : 1) * 4 * cols ** 2;
  return bytes;
}
