import { spawn } from "node:child_process";
import type { Socket } from "node:net";
import { setTimeout as pause } from "node:timers/promises";

const pollMs = 20;
/** The system takes a while to take back many GiB; one that nobody collects when it has ended is waited for in vain. */
const goneTimeoutMs = 5_000;

/** Signals every process of a group; gives whether there was one. */
export function signalGroup(id: number, signal: NodeJS.Signals): boolean {
  try {
    process.kill(-id, signal);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // macOS says EPERM of a group whose processes have all ended and were not collected yet.
    if (code !== "ESRCH" && code !== "EPERM") throw error;
    return false;
  }
}

/**
 * Has a group killed once this process has ended, however it ends: a server must not outlive who started it. Returns what
 * gives the guard up.
 */
export function guardGroup(id: number): () => void {
  // The pipe closes with this process, and then `read` returns. In a session of its own Ctrl-C does not reach it.
  const guard = spawn("sh", ["-c", `read -r _; kill -s KILL -- -${id}`], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  // Without a shell there is no guard, and the server runs all the same.
  guard.on("error", () => {});
  guard.unref();
  (guard.stdin as Socket).unref();
  return () => guard.kill("SIGKILL");
}

/** Kills what is left of a group, and waits until it is gone. */
export async function endGroup(id: number): Promise<void> {
  const untilMs = performance.now() + goneTimeoutMs;
  while (signalGroup(id, "SIGKILL") && performance.now() < untilMs) await pause(pollMs);
}
