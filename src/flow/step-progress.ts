import { type Progress, stoppable } from "../base/progress.ts";

/** Where one step of the flow reports: every line begins with its number and whose step it is. */
export interface StepReport {
  readonly progress: Progress;
  /** Says that the result of an earlier run is kept. */
  readonly keep: (file: string) => void;
}

/** Numbers the steps of a flow: `[2/5] w8a8: evaluate wikitext`. */
export class StepNumbers {
  readonly #total: number;
  readonly #progress: Progress;
  readonly #signal: AbortSignal;
  #current = 0;

  constructor(total: number, tools: { readonly progress: Progress; readonly signal: AbortSignal }) {
    this.#total = total;
    this.#progress = stoppable(tools.progress, tools.signal);
    this.#signal = tools.signal;
  }

  /** The next step. Throws the signal's reason when the user has stopped the flow, here and at every update. */
  next(name: string): StepReport {
    this.#signal.throwIfAborted();
    this.#current += 1;
    return stepReport(`[${this.#current}/${this.#total}] ${name}: `, this.#progress);
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
