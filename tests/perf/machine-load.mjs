// What the machine did beside a measurement.
import { readdirSync, readFileSync } from "node:fs";
import os from "node:os";

/** Clock ticks a second in /proc: 100 on every Linux that Node runs on. */
const ticksPerSecond = 100;

function machineSeconds() {
  const { user, nice, sys, irq } = os.cpus().reduce(
    (sum, { times }) => ({
      user: sum.user + times.user,
      nice: sum.nice + times.nice,
      sys: sum.sys + times.sys,
      irq: sum.irq + times.irq,
    }),
    { user: 0, nice: 0, sys: 0, irq: 0 },
  );
  return (user + nice + sys + irq) / 1000;
}

/** The fields of /proc/PID/stat behind the name, from the state on; none of a process that is gone. */
function statOf(pid) {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1).split(" ");
  } catch {
    return undefined;
  }
}

/** A process and all that descend from it: a server may compute in processes of its own. Linux only. */
export function processTree(root) {
  const parents = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => [Number(pid), Number(statOf(pid)?.[1])]);
  const tree = [root];
  for (const pid of tree)
    tree.push(...parents.filter(([, parent]) => parent === pid).map(([child]) => child));
  return tree;
}

/** CPU time of a process with all its threads, and of its children that have ended. */
function processSeconds(pid) {
  const ticks = (statOf(pid) ?? []).slice(11, 15);
  return ticks.reduce((sum, each) => sum + Number(each), 0) / ticksPerSecond;
}

/**
 * Starts to watch; the function that comes back gives the share of the machine, 0 to 1, that processes other than this
 * one and `servers`, process ids, used since then; the processes that a server starts meanwhile are others. Linux only.
 */
export function watchOthers(servers = []) {
  const pids = [process.pid, ...servers.flatMap(processTree)];
  const ownSeconds = () => pids.reduce((sum, pid) => sum + processSeconds(pid), 0);
  const machineBefore = machineSeconds();
  const ownBefore = ownSeconds();
  const startMs = performance.now();
  return () => {
    const seconds = (performance.now() - startMs) / 1000;
    const others = machineSeconds() - machineBefore - (ownSeconds() - ownBefore);
    return Math.max(0, others / (seconds * os.cpus().length));
  };
}
