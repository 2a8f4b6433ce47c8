import type { BenchStage, RequestRecord } from "../records/bench.ts";
import { ClientWatch } from "./client-watch.ts";
import { loadFigures } from "./load-figures.ts";
import { type BenchTarget, measureRequest } from "./measure-request.ts";
import type { Workload } from "./workload.ts";

export interface StagePlan {
  /** Requests in flight: N patient users, each sending the next request when its answer is complete. */
  readonly concurrency: number;
  /** At least so many requests, … */
  readonly numRequests: number;
  /** … and new ones until the stage is so old. */
  readonly minSeconds: number;
  /** First prompt index of the stage, so that no stage repeats another's prompts. */
  readonly firstIndex: number;
  readonly workload: Workload;
  readonly signal?: AbortSignal | undefined;
  readonly onRequest?: (done: number) => void;
}

export interface StageOutcome<S> {
  readonly stage: S;
  readonly records: readonly RequestRecord[];
}

/** Errors in a row after which a stage gives up: the server is gone. */
export const maxConsecutiveErrors = 8;

/** Runs one closed-loop stage. Stops early when the server seems to be gone; the records up to then are kept. */
export async function runStage(target: BenchTarget, plan: StagePlan): Promise<StageOutcome<BenchStage>> {
  const watch = new ClientWatch();
  const originMs = performance.now();
  const records: RequestRecord[] = [];
  const isFull = (): boolean =>
    started >= plan.numRequests && performance.now() - originMs >= plan.minSeconds * 1000;
  let started = 0;
  let errorsInRow = 0;
  const user = async (): Promise<void> => {
    while (!isFull() && errorsInRow < maxConsecutiveErrors && plan.signal?.aborted !== true) {
      const index = plan.firstIndex + started;
      started += 1;
      const record = await measureRequest(target, {
        index,
        prompt: plan.workload.prompt(index),
        outputTokens: plan.workload.outputTokens,
        originMs,
        dueMs: null,
        signal: plan.signal,
      });
      records.push(record);
      errorsInRow = record.error === null ? 0 : errorsInRow + 1;
      plan.onRequest?.(records.length);
    }
  };
  await Promise.all(Array.from({ length: plan.concurrency }, user));
  const durationMs = performance.now() - originMs;
  const { concurrency } = plan;
  const figures = loadFigures(records, durationMs, watch.end(null, 0), concurrency);
  return { stage: { concurrency, ...figures }, records };
}
