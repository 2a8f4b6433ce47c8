import type { BenchStage } from "../records/bench.ts";

/** What to know of the rates that a sweep takes from its first two stages; null where there is nothing. */
export function sweepNote(
  stages: readonly BenchStage[],
  { numRates, maxConcurrency }: { readonly numRates: number; readonly maxConcurrency: number },
): string | null {
  if (numRates === 0)
    return `With ${maxConcurrency} in flight the server did no more requests/s than with one: the sweep ends, as there is no rate to go up to. A longer --max-seconds tells more.`;
  const { faults } = stages.at(-1)!.client;
  if (faults.length === 0) return null;
  return `The rates that follow come from the stage with ${maxConcurrency} in flight, which does not count, as ${faults.join(" and ")}: the server may do more than the last of them. Give --client-threads 2 or a lower --max-concurrency.`;
}
