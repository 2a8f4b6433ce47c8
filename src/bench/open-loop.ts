import type { RateStage } from "../records/bench.ts";
import { type Arrivals, arrivalsText, dueTimes, meanRate } from "./arrivals.ts";
import { partOf } from "./closed-loop.ts";
import { summarise } from "./distribution.ts";
import { generatorFor } from "./random.ts";
import { runLoad, type StageOutcome, type StageTools } from "./run-stage.ts";
import { e2eFromDueOf, ttftFromDueOf } from "./slices.ts";

/** A stage in which requests come when they are due. */
export interface RateLoad {
  readonly arrivals: Arrivals;
  readonly numRequests: number;
  /** Most requests in flight; null for no limit. What is due then waits, and its wait counts. */
  readonly maxConcurrency: number | null;
}

/** Where arrivals are drawn, apart from prompts. */
const arrivalStream = -1;

/** Sends every request when it is due, by absolute times of a monotonic clock, and waits until all are answered. */
export async function runRateStage(
  { arrivals, numRequests, maxConcurrency }: RateLoad,
  seed: number,
  tools: StageTools,
): Promise<StageOutcome<RateStage>> {
  // One schedule for the whole stage, dealt out to the threads: theirs together are what was drawn.
  const due = dueTimes(arrivals, numRequests, generatorFor(seed, arrivalStream - tools.firstIndex));
  const rate = meanRate(arrivals, due);
  const { figures, records, becameClosed, nextIndex } = await runLoad(
    {
      shareOf: (base, thread, numThreads) => ({
        kind: "open",
        ...base,
        dueMs: due.filter((_, index) => index % numThreads === thread),
        maxConcurrency: maxConcurrency === null ? null : partOf(maxConcurrency, thread, numThreads),
      }),
      maxShares: maxConcurrency,
      usersAtOnce: null,
      schedule: {
        dueMs: due,
        wholeMs: rate === Number.POSITIVE_INFINITY ? 0 : (1000 * due.length) / rate,
      },
    },
    tools,
  );
  const good = records.filter(({ error }) => error === null);
  const stage: RateStage = {
    ...figures,
    requestRate: finite(rate),
    burstiness: arrivals.kind === "times" ? null : finite(arrivals.burstiness),
    arrivals: arrivalsText(arrivals),
    maxConcurrency,
    becameClosed,
    ttftFromDueMs: summarise(good.map(ttftFromDueOf)),
    e2eFromDueMs: summarise(good.map(e2eFromDueOf)),
  };
  return { stage, records, nextIndex };
}

/** JSON has no infinity. */
function finite(value: number): number | "inf" {
  return value === Number.POSITIVE_INFINITY ? "inf" : value;
}
