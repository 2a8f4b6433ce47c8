import { setImmediate, setTimeout } from "node:timers/promises";
import type { RateStage, RequestRecord } from "../records/bench.ts";
import { type ArrivalPattern, dueTimes } from "./arrivals.ts";
import { ClientWatch } from "./client-watch.ts";
import { maxConsecutiveErrors, type StageOutcome } from "./closed-loop.ts";
import { summarise } from "./distribution.ts";
import { loadFigures } from "./load-figures.ts";
import { type BenchTarget, measureRequest } from "./measure-request.ts";
import { generatorFor } from "./random.ts";
import type { Workload } from "./workload.ts";

export interface RatePlan {
  readonly arrivals: ArrivalPattern;
  readonly numRequests: number;
  /** Most requests in flight; null for no limit. What is due then waits, and its wait counts. */
  readonly maxConcurrency: number | null;
  readonly firstIndex: number;
  readonly workload: Workload;
  readonly signal?: AbortSignal | undefined;
  readonly onRequest?: (done: number) => void;
}

/** Timers come up to a millisecond late; the rest of a wait is spent in turns of the event loop. */
const timerSlackMs = 2;

/** Where arrivals are drawn, apart from prompts. */
const arrivalStream = -1;

/** Sends every request when it is due, by absolute times of a monotonic clock, and waits until all are answered. */
export async function runRateStage(target: BenchTarget, plan: RatePlan): Promise<StageOutcome<RateStage>> {
  const { arrivals, numRequests, maxConcurrency, firstIndex, workload, signal } = plan;
  const due = dueTimes(arrivals, numRequests, generatorFor(workload.seed, arrivalStream - firstIndex));
  const watch = new ClientWatch();
  const originMs = performance.now();
  const records: RequestRecord[] = [];
  const open = new Set<Promise<void>>();
  /** Of the requests that no limit held back. */
  const delaysMs: number[] = [];
  let errorsInRow = 0;
  let becameClosed = false;
  const send = async (index: number, dueMs: number, prompt: readonly number[] | string): Promise<void> => {
    const { outputTokens } = workload;
    const record = await measureRequest(target, { index, prompt, outputTokens, originMs, dueMs, signal });
    records.push(record);
    errorsInRow = record.error === null ? 0 : errorsInRow + 1;
    plan.onRequest?.(records.length);
  };
  let numSent = 0;
  for (const dueMs of due) {
    // Made before it is due, so that making it delays nothing.
    const prompt = workload.prompt(firstIndex + numSent);
    await waitUntil(originMs + dueMs, signal);
    let isHeld = false;
    while (maxConcurrency !== null && open.size >= maxConcurrency) {
      isHeld = true;
      await Promise.race(open);
    }
    if (errorsInRow >= maxConsecutiveErrors || signal?.aborted === true) break;
    if (isHeld) becameClosed = true;
    else delaysMs.push(performance.now() - originMs - dueMs);
    const sending: Promise<void> = send(firstIndex + numSent, dueMs, prompt).finally(() =>
      open.delete(sending),
    );
    open.add(sending);
    numSent += 1;
  }
  await Promise.all(open);
  const durationMs = performance.now() - originMs;
  const good = records.filter((record) => record.error === null);
  const stage: RateStage = {
    ...loadFigures(records, durationMs, watch.end(delaysMs, numRequests - numSent), null),
    requestRate: finite(arrivals.requestRate),
    burstiness: finite(arrivals.burstiness),
    maxConcurrency,
    becameClosed,
    ttftFromDueMs: summarise(good.map((record) => record.firstTokenMs! - record.dueMs!)),
    e2eFromDueMs: summarise(good.map((record) => record.endMs - record.dueMs!)),
  };
  return { stage, records };
}

async function waitUntil(atMs: number, signal: AbortSignal | undefined): Promise<void> {
  const restMs = atMs - performance.now();
  if (restMs > timerSlackMs) {
    // An abort ends the wait; the loop around it looks at the signal.
    const options = signal === undefined ? {} : { signal };
    await setTimeout(restMs - timerSlackMs, undefined, options).catch(() => {});
  }
  while (performance.now() < atMs && signal?.aborted !== true) await setImmediate();
}

/** JSON has no infinity. */
function finite(value: number): number | "inf" {
  return value === Number.POSITIVE_INFINITY ? "inf" : value;
}
