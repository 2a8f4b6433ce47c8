import type { Progress } from "../../base/progress.ts";
import type { Solver } from "../../kernels/solver.ts";
import { factorInput, type GptqFactors } from "../gptq.ts";
import type { QuantizationTarget } from "../plan.ts";
import { divideInput, type WeightTransform } from "../smoothing/weight-transform.ts";
import { inputNameOf } from "./capture-inputs.ts";
import type { InputStatistics, StatisticsCollector } from "./collect-statistics.ts";

/** What is known of what goes into a linear. */
export interface LinearInput {
  readonly statistics: InputStatistics;
  /** [cols] what an error in a column counts, above 0: its mean square input, over the mean of all columns. */
  readonly importance: Float32Array;
  /** Null where errors are not passed on. */
  readonly factors: GptqFactors | null;
}

/** Tells what goes into linears. */
export interface InputSource {
  /** Finds what goes into a target; comes before `inputOf`. */
  prepare(target: QuantizationTarget): Promise<void>;
  /** Null where nothing is known. */
  inputOf(target: QuantizationTarget): LinearInput | null;
  /** What the user should know, at the end. */
  notes(): readonly string[];
}

/** Of methods that need nothing but the weights. */
export const noInputs: InputSource = { prepare: async () => {}, inputOf: () => null, notes: () => [] };

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

/** Runs the model on calibration tokens whenever an input is prepared that is not known yet. */
export class CalibratedInputs implements InputSource {
  readonly #parts: CalibratedParts;
  #statistics: ReadonlyMap<string, InputStatistics> = new Map();
  #inputs = new Map<string, LinearInput | null>();
  readonly #unseen: string[] = [];
  readonly #silent: string[] = [];
  readonly #singular: string[] = [];
  readonly #damped: string[] = [];

  constructor(parts: CalibratedParts) {
    this.#parts = parts;
  }

  async prepare(target: QuantizationTarget): Promise<void> {
    if (isInLayer(target) && !this.#statistics.has(inputNameOf(target.module)))
      await this.#collectFrom(target);
  }

  inputOf(target: QuantizationTarget): LinearInput | null {
    if (!isInLayer(target)) return null;
    const name = inputNameOf(target.module);
    const statistics = this.#statistics.get(name)!;
    if (!this.#inputs.has(name)) {
      const factors = this.#parts.transform.columns.get(target.module);
      const own = factors === undefined ? statistics : divideInput(statistics, factors);
      // One at a time: a factor is as large as its statistics.
      this.#inputs.clear();
      this.#inputs = new Map([[name, this.#describe(name, own)]]);
    }
    const input = this.#inputs.get(name)!;
    if (statistics.numRows === 0) this.#unseen.push(target.module);
    else if (input === null) this.#silent.push(target.module);
    else if (this.#parts.isPassingOn && input.factors === null) this.#singular.push(target.module);
    return input;
  }

  notes(): readonly string[] {
    const about = (modules: readonly string[], what: string): string[] =>
      modules.length === 0 ? [] : [`${modules.length} linears ${what}, the first ${modules[0]}.`];
    return [
      ...about(this.#unseen, "got no calibration token and have scales by mse"),
      ...about(this.#silent, "got only zeros, or no numbers, and have scales by mse"),
      ...about(
        this.#singular,
        "have inputs whose Gram matrix has no factor, so that no errors were passed on",
      ),
      ...about(this.#damped, "needed more damping than 0.01"),
    ];
  }

  #describe(name: string, statistics: InputStatistics): LinearInput | null {
    const { energy, cols } = statistics;
    const mean = energy.reduce((sum, value) => sum + value, 0) / cols;
    if (!(mean > 0)) return null;
    const importance = energy.map((value) => Math.max(value / mean, 1e-6));
    const { isPassingOn, solver } = this.#parts;
    const factors = isPassingOn ? factorInput(statistics, solver) : null;
    if (factors !== null && factors.damping > 0.01) this.#damped.push(name);
    return { statistics, importance, factors };
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
