/** Where long work reports how far it is. `cli/` draws a bar on a terminal's stderr; tests record or ignore. */
export interface Progress {
  /** Begins a stage of `total` units; replaces the stage before. */
  start(label: string, total: number): void;
  /** Sets the units done in the current stage and an optional note, such as a running score. */
  update(done: number, note?: string): void;
  /** Ends the current stage with a closing line. */
  finish(message?: string): void;
}

/** Ends long work at its next update, with the signal's reason, once the signal asks for it. */
export function stoppable(progress: Progress, signal: AbortSignal): Progress {
  return {
    start: (label, total) => progress.start(label, total),
    update: (done, note) => {
      signal.throwIfAborted();
      progress.update(done, note);
    },
    finish: (message) => progress.finish(message),
  };
}

export const silentProgress: Progress = { start() {}, update() {}, finish() {} };
