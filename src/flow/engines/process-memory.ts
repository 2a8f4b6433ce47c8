import { readdirSync, readFileSync } from "node:fs";
import type { ProcessMemory } from "../../protocol/endpoint-launcher.ts";

/**
 * Resident sizes of a process and all that it started, summed: Linux's VmRSS and VmHWM. The sum of the peaks is an upper
 * bound where processes had theirs at different times. Null elsewhere, and when the process is gone.
 */
export function memoryOfTree(pid: number): ProcessMemory | null {
  if (process.platform !== "linux") return null;
  const known = treeOf(pid).flatMap((each) => memoryOf(each) ?? []);
  if (known.length === 0) return null;
  return {
    nowBytes: known.reduce((sum, { nowBytes }) => sum + nowBytes, 0),
    peakBytes: known.reduce((sum, { peakBytes }) => sum + peakBytes, 0),
  };
}

function treeOf(pid: number): number[] {
  const children = unlessGone(() =>
    readdirSync(`/proc/${pid}/task`).flatMap((task) =>
      readFileSync(`/proc/${pid}/task/${task}/children`, "utf8")
        .trim()
        .split(" ")
        .filter(Boolean)
        .map(Number),
    ),
  );
  return [pid, ...(children ?? []).flatMap(treeOf)];
}

function memoryOf(pid: number): ProcessMemory | null {
  const status = unlessGone(() => readFileSync(`/proc/${pid}/status`, "utf8"));
  if (status === null) return null;
  const bytes = (name: string): number | null => {
    const kib = new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1];
    return kib === undefined ? null : Number(kib) * 1024;
  };
  const [nowBytes, peakBytes] = [bytes("VmRSS"), bytes("VmHWM")];
  return nowBytes === null || peakBytes === null ? null : { nowBytes, peakBytes };
}

/** A process may end while it is looked at. */
function unlessGone<T>(read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ENOENT" && code !== "ESRCH") throw error;
    return null;
  }
}
