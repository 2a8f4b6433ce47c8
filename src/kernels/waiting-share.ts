import { linuxFiles, type SystemFiles } from "./system-files.ts";

/**
 * Begins to watch the calling thread. The function that comes back says which share of its work's time since then it
 * waited for a processor that others used, 0 to 1: run queue time over that and running time. Null where the system does
 * not count it.
 */
export function watchWaiting(files: SystemFiles = linuxFiles): () => number | null {
  const before = readTimes(files);
  return () => {
    const after = readTimes(files);
    if (before === null || after === null) return null;
    const [ran, waited] = [after.ran - before.ran, after.waited - before.waited];
    return ran + waited === 0 ? 0 : waited / (ran + waited);
  };
}

/** Nanoseconds on a processor and in its run queue. */
function readTimes(files: SystemFiles): { readonly ran: number; readonly waited: number } | null {
  const match = /^(\d+) (\d+) /.exec(files.read("/proc/thread-self/schedstat") ?? "");
  return match === null ? null : { ran: Number(match[1]), waited: Number(match[2]) };
}
