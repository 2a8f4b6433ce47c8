import { type Progress, stoppable } from "../base/progress.ts";
import { formatDuration } from "../base/units.ts";

/** Where one step of the flow reports: every line begins with its number and whose step it is. */
export interface StepReport {
  readonly progress: Progress;
  /** Says that the result of an earlier run is kept. */
  readonly keep: (file: string) => void;
}

/** Steps of one kind follow each other, so that the latest ones say most of those to come. */
const numRecent = 3;

/** Numbers the steps of a flow: `[2/5] w8a8: evaluate wikitext`; beside the figures stands what is left of the whole. */
export class StepNumbers {
  readonly #total: number;
  readonly #progress: Progress;
  readonly #signal: AbortSignal;
  /** How long the steps took that were not kept. */
  readonly #tookMs: number[] = [];
  #current = 0;
  #startedMs = 0;
  #isKept = true;

  constructor(total: number, tools: { readonly progress: Progress; readonly signal: AbortSignal }) {
    this.#total = total;
    this.#progress = stoppable(tools.progress, tools.signal);
    this.#signal = tools.signal;
  }

  /** The next step. Throws the signal's reason when the user has stopped the flow, here and at every update. */
  next(name: string): StepReport {
    this.#signal.throwIfAborted();
    if (!this.#isKept) this.#tookMs.push(performance.now() - this.#startedMs);
    this.#current += 1;
    this.#startedMs = performance.now();
    this.#isKept = false;
    const report = stepReport(`[${this.#current}/${this.#total}] ${name}: `, {
      ...this.#progress,
      update: (done, note) => this.#progress.update(done, this.#withRest(note)),
    });
    const keep = (file: string): void => {
      this.#isKept = true;
      report.keep(file);
    };
    return { ...report, keep };
  }

  /** A note with about how long all further steps will take; as it is before anybody can tell. */
  #withRest(note: string | undefined): string | undefined {
    const recent = this.#tookMs.slice(-numRecent);
    const numLeft = this.#total - this.#current;
    if (recent.length === 0 || numLeft === 0) return note;
    const meanMs = recent.reduce((sum, ms) => sum + ms, 0) / recent.length;
    const steps = numLeft === 1 ? "1 more step" : `${numLeft} more steps`;
    const rest = `then about ${formatDuration(numLeft * meanMs)} for ${steps}`;
    return note === undefined ? rest : `${note}, ${rest}`;
  }
}

/** A report whose every line begins with `prefix`. */
export function stepReport(prefix: string, progress: Progress): StepReport {
  let label = "";
  return {
    progress: {
      start: (text, total) => {
        label = text;
        progress.start(`${prefix}${text}`, total);
      },
      update: (done, note) => progress.update(done, note),
      finish: (message) => progress.finish(`${prefix}${message ?? label}`),
    },
    keep: (file) => {
      progress.start(prefix, 0);
      progress.finish(`${prefix}kept from an earlier run: ${file}`);
    },
  };
}
