import { setTimeout as sleep } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/**
 * Bytes that a round of work leaves behind: the median of `numRounds` rounds, after one that is not counted.
 *
 * A leak adds to every round. What is made once (compiled code, caches that fill, the buffers of a connection that is
 * still open at one of the readings) shows in a few rounds only, or is given back in the next, and the median passes
 * over it.
 */
export async function growthPerRound(numRounds: number, round: () => Promise<void>): Promise<number> {
  await round();
  const growths: number[] = [];
  let before = await settledHeapBytes();
  for (let i = 0; i < numRounds; i += 1) {
    await round();
    const after = await settledHeapBytes();
    growths.push(after - before);
    before = after;
  }
  return growths.sort((a, b) => a - b)[Math.floor(numRounds / 2)]!;
}

/** Objects and array buffers in use: the least of three readings, since buffers are given back behind a collection. */
async function settledHeapBytes(): Promise<number> {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  let least = Number.POSITIVE_INFINITY;
  for (let reading = 0; reading < 3; reading += 1) {
    await sleep(20);
    collect();
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    least = Math.min(least, heapUsed + arrayBuffers);
  }
  return least;
}
