import type { Progress } from "../base/progress.ts";
import type { Grid, Quantized } from "../kernels/grid.ts";
import type { Solver } from "../kernels/solver.ts";
import { inputNameOf } from "./calibration/capture-inputs.ts";
import type { InputStatistics, StatisticsCollector } from "./calibration/collect-statistics.ts";
import { factorInput, type GptqFactors, quantizeWithErrorFeedback } from "./gptq.ts";
import { keepBestRows } from "./keep-best.ts";
import type { QuantizationTarget } from "./plan.ts";
import { transformGram, type WeightTransform } from "./smoothing/weight-transform.ts";

/** What came of a linear beside its integers; null where nothing was measured. */
export interface LinearOutcome {
  /** The root of (sum of squared errors of outputs / sum of squared outputs) on what was held out. */
  readonly outputError: number;
  /** Rows that each method gave. */
  readonly rows: Readonly<Record<string, number>>;
}

/** Puts rows on a grid. `values` is [rows, cols] f32, all finite, and left as it is. */
type RowQuantizer = (values: Float32Array, grid: Grid) => Quantized;

/** A linear's own quantiser; bands of rows go through it in any order. */
export interface LinearQuantizer {
  readonly quantize: RowQuantizer;
  /** Once all rows went through. */
  outcome(): LinearOutcome | null;
}

export interface LinearInputs {
  readonly statistics: InputStatistics;
  /** [cols] what an error in a column counts. */
  readonly importance: Float32Array;
}

/** Gives each linear its quantiser. */
export interface QuantizerSource {
  quantizerOf(target: QuantizationTarget): LinearQuantizer;
  /** What goes into a linear; null where that is not known. */
  inputsOf(target: QuantizationTarget): LinearInputs | null;
  /** What the user should know, at the end. */
  notes(): readonly string[];
}

/** Methods that need nothing but the weights. */
export function dataFreeQuantizers(method: "rtn" | "mse", solver: Solver): QuantizerSource {
  const isSearched = method === "mse";
  return {
    quantizerOf: ({ cols }) => ({
      quantize: (values, grid) => solver.roundGroups({ cols, values, grid, importance: null, isSearched }),
      outcome: () => null,
    }),
    inputsOf: () => null,
    notes: () => [],
  };
}

export interface CalibratedParts {
  readonly collector: StatisticsCollector;
  readonly solver: Solver;
  readonly method: "imatrix" | "gptq";
  /** In the order in which they will be asked for. */
  readonly targets: readonly QuantizationTarget[];
  /** Bytes of statistics that are in memory at a time; those of one layer at least. */
  readonly statisticsBytes: number;
  /** What is done to weights and inputs before. */
  readonly transform: WeightTransform;
  readonly progress: Progress;
}

/** Methods that know the inputs. Each row takes the method that did best on what was held out. */
export class CalibratedQuantizers implements QuantizerSource {
  readonly #parts: CalibratedParts;
  #statistics: ReadonlyMap<string, InputStatistics> = new Map();
  #factors = new Map<string, GptqFactors | null>();
  readonly #unseen: string[] = [];
  readonly #singular: string[] = [];
  readonly #damped: string[] = [];

  constructor(parts: CalibratedParts) {
    this.#parts = parts;
  }

  quantizerOf(target: QuantizationTarget): LinearQuantizer {
    const known = this.#knownOf(target);
    return known === null
      ? dataFreeQuantizers("mse", this.#parts.solver).quantizerOf(target)
      : this.#bestOf(known.statistics, known.factors);
  }

  inputsOf(target: QuantizationTarget): LinearInputs | null {
    const known = this.#knownOf(target);
    return known && { statistics: known.statistics, importance: known.factors.importance };
  }

  #knownOf(
    target: QuantizationTarget,
  ): { readonly statistics: InputStatistics; readonly factors: GptqFactors } | null {
    if (!isInLayer(target)) return null;
    const name = inputNameOf(target.module);
    if (!this.#statistics.has(name)) this.#collectFrom(target);
    const statistics = this.#statistics.get(name)!;
    const factors = this.#factorsOf(name, statistics);
    if (statistics.numRows === 0) this.#unseen.push(target.module);
    else if (factors === null) this.#singular.push(target.module);
    return factors && { statistics, factors };
  }

  notes(): readonly string[] {
    const about = (modules: readonly string[], what: string): string[] =>
      modules.length === 0 ? [] : [`${modules.length} linears ${what}, the first ${modules[0]}.`];
    return [
      ...about(this.#unseen, "got no calibration token and have scales by mse"),
      ...about(this.#singular, "have inputs whose Gram matrix has no factor, and have scales by mse"),
      ...about(this.#damped, "needed more damping than 0.01"),
    ];
  }

  #bestOf(statistics: InputStatistics, factors: GptqFactors): LinearQuantizer {
    const { solver, method } = this.#parts;
    const names = ["mse", "imatrix", ...(method === "gptq" ? ["gptq"] : [])];
    const rows = names.map(() => 0);
    const sums = { error: 0, output: 0 };
    const quantize: RowQuantizer = (values, grid) => {
      const search = (importance: Float32Array | null): Quantized =>
        solver.roundGroups({ cols: statistics.cols, values, grid, importance, isSearched: true });
      const weighted = search(factors.importance);
      const candidates = [search(null), weighted];
      if (method === "gptq") {
        candidates.push(quantizeWithErrorFeedback(values, { grid, ...weighted }, factors, solver));
      }
      const best = keepBestRows(values, candidates, statistics, solver);
      for (const [i, count] of best.counts.entries()) rows[i] = rows[i]! + count;
      sums.error += best.outputError;
      sums.output += best.outputSum;
      return best.quantized;
    };
    const outcome = (): LinearOutcome => ({
      outputError: sums.output > 0 ? Math.sqrt(Math.max(0, sums.error) / sums.output) : 0,
      rows: Object.fromEntries(names.map((name, i) => [name, rows[i]!])),
    });
    return { quantize, outcome };
  }

  #factorsOf(name: string, statistics: InputStatistics): GptqFactors | null {
    const known = this.#factors.get(name);
    if (known !== undefined) return known;
    const factors = statistics.numRows === 0 ? null : factorInput(statistics, this.#parts.solver);
    if (factors !== null && factors.damping > 0.01) this.#damped.push(name);
    // One at a time: linears that share an input are neighbours, and a factor is as large as its statistics.
    this.#factors = new Map([[name, factors]]);
    return factors;
  }

  /** Statistics of whole layers, from that of `first` on, as many as fit. */
  #collectFrom(first: QuantizationTarget): void {
    const { collector, targets, statisticsBytes, transform, progress } = this.#parts;
    this.#statistics = new Map();
    const inputs = new Map<string, number>();
    let bytes = 0;
    const from = targets.indexOf(first);
    for (const layer of inputsByLayer(targets.slice(from))) {
      const size = statisticsSize(layer.values());
      if (inputs.size > 0 && bytes + size > statisticsBytes) break;
      bytes += size;
      for (const [name, cols] of layer) inputs.set(name, cols);
    }
    this.#statistics = collector.collect(inputs, progress);
    for (const { module } of targets) {
      const factors = transform.columns.get(module);
      const own = this.#statistics.get(inputNameOf(module));
      if (factors === undefined || own === undefined || !inputs.delete(inputNameOf(module))) continue;
      transformGram(own.gram, factors);
      transformGram(own.heldOutGram, factors);
    }
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
export function layerStatisticsBytes(targets: readonly QuantizationTarget[]): readonly number[] {
  return inputsByLayer(targets).map((layer) => statisticsSize(layer.values()));
}

/** Two Gram matrices of each input. */
function statisticsSize(widths: Iterable<number>): number {
  let bytes = 0;
  for (const cols of widths) bytes += 2 * 4 * cols ** 2;
  return bytes;
}
