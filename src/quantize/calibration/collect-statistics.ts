import { setImmediate as nextTurn } from "node:timers/promises";
import type { Progress } from "../../base/progress.ts";
import type { FloatDtype } from "../../base/weights.ts";
import type { Checkpoint } from "../../formats/checkpoint.ts";
import type { Ops } from "../../kernels/ops.ts";
import type { Solver } from "../../kernels/solver.ts";
import { type CalibrationTokens, longestSequence } from "./calibration-tokens.ts";
import type { InputListener } from "./capture-inputs.ts";
import { FloatModel } from "./float-model.ts";
import type { KeptInputs } from "./kept-inputs.ts";

/** What is known of the input x of a linear, K columns wide. */
export interface InputStatistics {
  readonly cols: number;
  /** Rows that went in: tokens, or those that a router sent. */
  readonly numRows: number;
  /** [K] Σ x² over most sequences. */
  readonly energy: Float32Array;
  /** [K, K] Σ x·xᵀ over the same sequences; null where only the energy is wanted. */
  readonly gram: Float32Array | null;
  /** The same over the sequences that are held out, to judge by. */
  readonly heldOutGram: Float32Array;
}

/** Some of the rows that go into a linear, K columns wide, and the range of all of them. */
export interface InputSample {
  /** [numRows, K] */
  readonly rows: Float32Array;
  /** [K] largest and mean |x| of each column. */
  readonly largest: Float32Array;
  readonly mean: Float32Array;
}

/** Rows of a sample, taken evenly. */
export const sampleRows = 128;

/** One sequence of so many is held out. */
const heldOutEvery = 8;

export interface CalibrationTools {
  readonly tokens: CalibrationTokens;
  readonly ops: Ops;
  readonly solver: Solver;
  /** Where what was collected stays for further runs on the same model; without, each run collects its own. */
  readonly kept?: KeptInputs;
}

/** Runs the float model over the calibration tokens, as often as memory for statistics asks for it. */
export class StatisticsCollector {
  readonly #tools: CalibrationTools;
  readonly #checkpoint: Checkpoint;
  readonly #roundTo: FloatDtype | null;
  #model: FloatModel | null = null;

  /** @param tools of tokens that are the model's (`checkCalibration`) */
  constructor(checkpoint: Checkpoint, tools: CalibrationTools, roundTo: FloatDtype | null) {
    this.#tools = tools;
    this.#checkpoint = checkpoint;
    this.#roundTo = roundTo;
  }

  /**
   * Statistics of inputs by name (`inputNameOf`) and width. One that no row went into has `numRows` 0. Throws what
   * `loadModel` throws.
   */
  async collect(
    inputs: ReadonlyMap<string, number>,
    { hasGram, progress }: { readonly hasGram: boolean; readonly progress: Progress },
  ): Promise<ReadonlyMap<string, InputStatistics>> {
    const { kept } = this.#tools;
    if (kept === undefined) return this.#collect(inputs, { hasGram, progress });
    // Where only energies are wanted, what is kept with Gram matrices does too.
    const withGram = hasGram || kept.statistics.isOf(this.#keyOf("gram"));
    return kept.statistics.complete(this.#keyOf(withGram ? "gram" : "energy"), inputs, (missing) =>
      this.#collect(missing, { hasGram: withGram, progress }),
    );
  }

  #keyOf(kind: string): string {
    return JSON.stringify([kind, this.#checkpoint.path, this.#roundTo, this.#tools.tokens.sha256]);
  }

  async #collect(
    inputs: ReadonlyMap<string, number>,
    { hasGram, progress }: { readonly hasGram: boolean; readonly progress: Progress },
  ): Promise<ReadonlyMap<string, InputStatistics>> {
    const { tokens, solver } = this.#tools;
    const found = new Map(
      [...inputs].map(([name, cols]): [string, MutableStatistics] => [
        name,
        {
          cols,
          numRows: 0,
          energy: new Float32Array(cols),
          gram: hasGram ? new Float32Array(cols ** 2) : null,
          heldOutGram: new Float32Array(cols ** 2),
        },
      ]),
    );
    let heldOut = false;
    const hear: InputListener = (name, values, rows) => {
      const statistics = found.get(name);
      if (statistics === undefined) return;
      if (heldOut) {
        solver.addGram(values, rows, statistics.heldOutGram);
        return;
      }
      statistics.numRows += rows;
      solver.addSquares(values, rows, statistics.energy);
      if (statistics.gram !== null) solver.addGram(values, rows, statistics.gram);
    };
    await this.#runModel(hear, progress, (index) => {
      heldOut = isHeldOut(index, tokens);
      return true;
    });
    for (const { gram, heldOutGram, cols } of found.values()) {
      if (gram !== null) mirror(gram, cols);
      mirror(heldOutGram, cols);
    }
    return found;
  }

  /** Samples of inputs by name and width, of what is not held out. */
  async sample(
    inputs: ReadonlyMap<string, number>,
    progress: Progress,
  ): Promise<ReadonlyMap<string, InputSample>> {
    const { kept } = this.#tools;
    if (kept === undefined) return this.#sample(inputs, progress);
    return kept.samples.complete(this.#keyOf("sample"), inputs, (missing) => this.#sample(missing, progress));
  }

  async #sample(
    inputs: ReadonlyMap<string, number>,
    progress: Progress,
  ): Promise<ReadonlyMap<string, InputSample>> {
    const { tokens } = this.#tools;
    const numTokens = tokens.sequences.reduce((sum, { length }) => sum + length, 0);
    const every = Math.max(1, Math.floor(numTokens / sampleRows));
    const found = new Map([...inputs].map(([name, cols]) => [name, new SampleBuilder(cols, every)]));
    const hear: InputListener = (name, values, rows) => found.get(name)?.add(values, rows);
    await this.#runModel(hear, progress, (index) => !isHeldOut(index, tokens));
    return new Map([...found].map(([name, builder]) => [name, builder.finish()]));
  }

  /** Runs the sequences that `begin` says yes to; between two of them others have their turn, such as Ctrl-C. */
  async #runModel(hear: InputListener, progress: Progress, begin: (index: number) => boolean): Promise<void> {
    const { sequences } = this.#tools.tokens;
    const model = this.#openModel();
    model.onInput = hear;
    progress.start("calibrate", sequences.length);
    for (const [index, sequence] of sequences.entries()) {
      if (!begin(index)) continue;
      await nextTurn();
      model.run(sequence);
      progress.update(index + 1);
    }
    model.onInput = () => {};
    progress.finish();
  }

  /** Its weights stay with the kernels, so that further runs on the same model share it. */
  #openModel(): FloatModel {
    const { ops, tokens, kept } = this.#tools;
    const maxTokens = longestSequence(tokens);
    const open = (): FloatModel =>
      new FloatModel({ ops, checkpoint: this.#checkpoint, roundTo: this.#roundTo, maxTokens });
    this.#model ??= kept === undefined ? open() : kept.floatModel(this.#keyOf("model"), open);
    return this.#model;
  }
}

/** Takes every so many-th row. */
class SampleBuilder {
  readonly #cols: number;
  readonly #every: number;
  readonly #taken: Float32Array[] = [];
  readonly #largest: Float32Array;
  readonly #sums: Float64Array;
  #numRows = 0;

  constructor(cols: number, every: number) {
    this.#cols = cols;
    this.#every = every;
    this.#largest = new Float32Array(cols);
    this.#sums = new Float64Array(cols);
  }

  add(values: Float32Array, rows: number): void {
    const cols = this.#cols;
    for (let row = 0; row < rows; row += 1, this.#numRows += 1) {
      const own = values.subarray(row * cols, (row + 1) * cols);
      if (this.#numRows % this.#every === 0) this.#taken.push(own.slice());
      for (let j = 0; j < cols; j += 1) {
        const size = Math.abs(own[j]!);
        if (size > this.#largest[j]!) this.#largest[j] = size;
        this.#sums[j] = this.#sums[j]! + size;
      }
    }
  }

  finish(): InputSample {
    const rows = new Float32Array(this.#taken.length * this.#cols);
    for (const [index, row] of this.#taken.entries()) rows.set(row, index * this.#cols);
    const mean = Float32Array.from(this.#sums, (sum) => sum / Math.max(1, this.#numRows));
    return { rows, largest: this.#largest, mean };
  }
}

type MutableStatistics = { -readonly [K in keyof InputStatistics]: InputStatistics[K] };

/** The last of each eight sequences, and of fewer the last. */
export function isHeldOut(index: number, { sequences }: CalibrationTokens): boolean {
  const every = Math.min(heldOutEvery, sequences.length);
  return index % every === every - 1;
}

function mirror(matrix: Float32Array, n: number): void {
  for (let i = 1; i < n; i += 1) for (let j = 0; j < i; j += 1) matrix[i * n + j] = matrix[j * n + i]!;
}
