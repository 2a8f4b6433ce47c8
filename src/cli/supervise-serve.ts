import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { formatDuration } from "../base/units.ts";
import { createTextLogger } from "./log.ts";
import { supervisedEnvironment, toldPort } from "./supervised.ts";

const firstPauseMs = 250;
const maxPauseMs = 30_000;
/** A server that ran this long starts again as if for the first time. */
const settledMs = 60_000;

/** Exit codes of what starting again would not change: a wrong option, a missing file, too little memory. */
const refusals: readonly number[] = [2, 3, 4];

/**
 * Runs this command line as a child and starts it again whenever it crashes, each time after a longer pause. Signals go
 * on to the child, whose end is then this process's too.
 */
export async function superviseServe(): Promise<void> {
  const logger = createTextLogger("info");
  let child: ChildProcess | null = null;
  let isStopping = false;
  let stopWaiting = (): void => {};
  const passOn = (signal: NodeJS.Signals): void => {
    isStopping = true;
    child?.kill(signal);
    stopWaiting();
  };
  process.on("SIGTERM", passOn);
  process.on("SIGINT", passOn);
  let pauseMs = firstPauseMs;
  let port: number | undefined;
  while (!isStopping) {
    const startedAt = performance.now();
    child = spawn(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
      stdio: ["inherit", "inherit", "inherit", "ipc"],
      env: supervisedEnvironment(port),
    });
    child.on("message", (message) => (port = toldPort(message) ?? port));
    const [code, signal] = (await once(child, "exit")) as [number | null, NodeJS.Signals | null];
    if (isStopping || code === 0 || (code !== null && refusals.includes(code))) {
      process.exitCode = code ?? 1;
      break;
    }
    if (performance.now() - startedAt >= settledMs) pauseMs = firstPauseMs;
    logger.error(
      `The server ended by ${signal ?? `exit code ${code}`}; it starts again in ${formatDuration(pauseMs)}.`,
    );
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, pauseMs);
      stopWaiting = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    pauseMs = Math.min(maxPauseMs, pauseMs * 2);
  }
  process.off("SIGTERM", passOn);
  process.off("SIGINT", passOn);
}
