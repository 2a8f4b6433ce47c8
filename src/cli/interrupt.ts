import { setMaxListeners } from "node:events";
import { MillraceError } from "../base/errors.ts";

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
  const onInterrupt = (): void => {
    if (controller.signal.aborted) process.exit(130);
    process.stderr.write("\nStopping. Press Ctrl-C again to end at once.\n");
    controller.abort(new MillraceError("interrupted", `Stopped by Ctrl-C or SIGTERM. ${advice}`));
  };
  process.on("SIGINT", onInterrupt);
  process.on("SIGTERM", onInterrupt);
  const release = (): void => {
    process.off("SIGINT", onInterrupt);
    process.off("SIGTERM", onInterrupt);
  };
  return { signal: controller.signal, release };
}
