// What the machine did beside a measurement.
import { readFileSync } from "node:fs";
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

/** CPU time of a process with all its threads, and of its children that have ended. */
function processSeconds(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) / ticksPerSecond;
}

/**
 * Starts to watch; the function that comes back gives the share of the machine, 0 to 1, that processes other than this
 * one and `pids` used since then. Linux only.
 */
export function watchOthers(pids = []) {
  const ownSeconds = () => [process.pid, ...pids].reduce((sum, pid) => sum + processSeconds(pid), 0);
  const machineBefore = machineSeconds();
  const ownBefore = ownSeconds();
  const startMs = performance.now();
  return () => {
    const seconds = (performance.now() - startMs) / 1000;
    const others = machineSeconds() - machineBefore - (ownSeconds() - ownBefore);
    return Math.max(0, others / (seconds * os.cpus().length));
  };
}
