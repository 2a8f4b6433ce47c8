import type { BenchStage } from "../records/bench.ts";
import { runLoad, type StageOutcome, type StageTools } from "./run-stage.ts";

export interface ClosedPlan {
  /** Requests in flight: N patient users, each sending the next request when its answer is complete. */
  readonly concurrency: number;
  /** At least so many conversations, … */
  readonly numRequests: number;
  /** … and new ones until the stage is so old. */
  readonly minSeconds: number;
}

/** Runs one closed-loop stage. Stops early when the server seems to be gone; the records up to then are kept. */
export async function runClosedStage(
  { concurrency, numRequests, minSeconds }: ClosedPlan,
  tools: StageTools,
): Promise<StageOutcome<BenchStage>> {
  const { figures, records, nextIndex } = await runLoad(
    {
      shareOf: (base, thread, numThreads) => ({
        kind: "closed",
        ...base,
        concurrency: partOf(concurrency, thread, numThreads),
        numRequests: partOf(numRequests, thread, numThreads),
        minMs: minSeconds * 1000,
      }),
      maxShares: concurrency,
      usersAtOnce: concurrency,
      schedule: null,
    },
    tools,
  );
  return { stage: { concurrency, ...figures }, records, nextIndex };
}

/** How many of `count` fall to one of several threads. */
export function partOf(count: number, thread: number, numThreads: number): number {
  return Math.floor(count / numThreads) + (thread < count % numThreads ? 1 : 0);
}
