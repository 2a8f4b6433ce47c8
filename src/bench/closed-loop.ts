import type { BenchStage, RequestRecord } from "../records/bench.ts";
import { summarise } from "./distribution.ts";
import { type BenchTarget, measureRequest } from "./measure-request.ts";
import { e2eOf, sliceStage, tokensOf, tpotOf, ttftOf } from "./slices.ts";
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

/** Errors in a row after which a stage gives up: the server is gone. */
const maxConsecutiveErrors = 8;

/** Runs one closed-loop stage. Stops early when the server seems to be gone; the records up to then are kept. */
export async function runStage(
  target: BenchTarget,
  plan: StagePlan,
): Promise<{ readonly stage: BenchStage; readonly records: readonly RequestRecord[] }> {
  const originMs = performance.now();
  const cpuBefore = process.cpuUsage();
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
        signal: plan.signal,
      });
      records.push(record);
      errorsInRow = record.error === null ? 0 : errorsInRow + 1;
      plan.onRequest?.(records.length);
    }
  };
  await Promise.all(Array.from({ length: plan.concurrency }, user));
  const durationMs = performance.now() - originMs;
  const cpu = process.cpuUsage(cpuBefore);
  const clientCpuShare = (cpu.user + cpu.system) / 1000 / durationMs;
  return { stage: summariseStage(plan.concurrency, records, durationMs, clientCpuShare), records };
}

/** Figures of a stage from its records. The window is the whole stage, ramp and drain included. */
export function summariseStage(
  concurrency: number,
  records: readonly RequestRecord[],
  durationMs: number,
  clientCpuShare: number,
): BenchStage {
  const good = records.filter((record) => record.error === null);
  const outputTokens = good.reduce((sum, record) => sum + tokensOf(record), 0);
  const counted = good.flatMap((record) => record.promptTokens ?? []);
  const promptTokens = counted.reduce((sum, count) => sum + count, 0);
  const seconds = durationMs / 1000;
  return {
    concurrency,
    numRequests: records.length,
    numErrors: records.length - good.length,
    firstError: records.find((record) => record.error !== null)?.error ?? null,
    durationMs,
    promptTokens,
    meanPromptTokens: counted.length === 0 ? null : promptTokens / counted.length,
    outputTokens,
    outputTokensPerSecond: outputTokens / seconds,
    totalTokensPerSecond: (outputTokens + promptTokens) / seconds,
    requestsPerSecond: good.length / seconds,
    ttftMs: summarise(good.map(ttftOf)),
    tpotMs: summarise(good.map(tpotOf).filter((value) => value !== null)),
    itlMs: summarise(good.flatMap(gapsOf)),
    tokensPerArrival: outputTokens === 0 ? null : outputTokens / numArrivals(good),
    e2eMs: summarise(good.map(e2eOf)),
    clientCpuShare,
    slices: sliceStage(concurrency, good),
  };
}

/** Reads that brought tokens; one may bring several events, and an event several tokens. */
function numArrivals(records: readonly RequestRecord[]): number {
  return records.reduce((sum, { coalesced }) => sum + coalesced.filter((isLater) => !isLater).length, 0);
}

function gapsOf(record: RequestRecord): number[] {
  const gaps: number[] = [];
  for (let index = 1; index < record.chunkMs.length; index += 1) {
    if (!record.coalesced[index]) gaps.push(record.chunkMs[index]! - record.chunkMs[index - 1]!);
  }
  return gaps;
}
