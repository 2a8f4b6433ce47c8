import { setMaxListeners } from "node:events";
import { MillraceError } from "../base/errors.ts";

/** SIGHUP comes when the terminal is closed. By default it ends a process at once, and the servers that it started run on. */
const stopSignals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** A second signal so soon is the first one again: `timeout` sends it to the process, then to its group. */
const sameSignalMs = 500;

/**
 * Ctrl-C as a signal for long work: the first asks it to stop cleanly, the second ends the process.
 * Call `release` when the work is over.
 *
 * @param advice what becomes of the work that was done, and how to go on
 */
export function listenForInterrupt(advice: string): {
  readonly signal: AbortSignal;
  readonly release: () => void;
} {
  const controller = new AbortController();
  // Every request in flight listens; Node warns of eleven.
  setMaxListeners(0, controller.signal);
  let firstMs = Number.NEGATIVE_INFINITY;
  const onInterrupt = (): void => {
    if (performance.now() - firstMs < sameSignalMs) return;
    if (controller.signal.aborted) process.exit(130);
    firstMs = performance.now();
    process.stderr.write("\nStopping. Press Ctrl-C again to end at once.\n");
    controller.abort(new MillraceError("interrupted", `Stopped by Ctrl-C, SIGTERM or SIGHUP. ${advice}`));
  };
  for (const each of stopSignals) process.on(each, onInterrupt);
  const release = (): void => {
    for (const each of stopSignals) process.off(each, onInterrupt);
  };
  return { signal: controller.signal, release };
}
