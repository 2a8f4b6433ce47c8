import { MillraceError } from "../base/errors.ts";
import type { BenchRecord, BenchStage, RateStage, RequestRecord } from "../records/bench.ts";
import { startOrigin } from "../records/origin.ts";
import type { BenchOptions } from "./bench-options.ts";
import { BenchSession, type StageResult } from "./bench-session.ts";
import { type Load, type LoadList, loadsOf } from "./loads.ts";
import { failuresOf, refuseLostServer } from "./lost-server.ts";
import type { RateLoad } from "./open-loop.ts";
import { countText, loadName, stageName, stageText } from "./stage-text.ts";

export interface SweepOptions extends BenchOptions, LoadList {
  /** The server's backend, instruction set and threads, where they are known. */
  readonly kernels?: string | null;
  /** What an hour of the server costs. */
  readonly pricePerHour?: number | null;
  /** Further loads, from the stages so far; asked once, behind the last. */
  readonly furtherRates?: (stages: readonly BenchStage[]) => RateLoad[];
  /** Receives the raw records of each stage as soon as it ends, so that a later fault loses nothing. */
  readonly onStage?: (stage: BenchStage | RateStage, records: readonly RequestRecord[]) => void;
  /** Receives the record, also where a fault or the signal ends the load early: then of the stages that had ended. */
  readonly onRecord?: (record: BenchRecord) => void;
}

/**
 * Warm-up, then one closed-loop stage per concurrency and one open-loop stage per rate.
 *
 * Errors: `endpoint_unreachable`; `endpoint_failed` when the warm-up fails, a stage has no good request or the server
 * is gone after one; the signal's reason.
 */
export async function runSweep(options: SweepOptions): Promise<BenchRecord> {
  const finishOrigin = startOrigin(options.kernels ?? null);
  const session = await BenchSession.open(options);
  const stages: BenchStage[] = [];
  const rates: RateStage[] = [];
  const recordNow = (): BenchRecord => ({
    kind: "bench",
    origin: finishOrigin(),
    url: options.endpoint.url,
    model: session.target.model,
    workload: session.describeWorkload(),
    pricePerHour: options.pricePerHour ?? null,
    stages,
    rates,
  });
  try {
    const runAll = async (loads: readonly Load[]): Promise<void> => {
      for (const load of loads) {
        const { stage, records } = await runOne(session, load, options);
        if ("concurrency" in stage) stages.push(stage);
        else rates.push(stage);
        // Where its raw records have no place, the stage is in the record all the same.
        options.onStage?.(stage, records);
        options.progress.finish(`${stageName(stage)}: ${stageText(stage)}`);
        await refuseLostServer(stage, options);
        refuseFailedStage(stage, options, stages.length + rates.length - 1);
      }
    };
    await runAll(loadsOf(options));
    const further = options.furtherRates?.(stages) ?? [];
    await runAll(further.map((plan) => ({ kind: "rate", plan })));
    return recordNow();
  } finally {
    try {
      if (stages.length + rates.length > 0) options.onRecord?.(recordNow());
    } finally {
      // Its threads keep the process alive, also where the record has no place.
      await session.close();
    }
  }
}

async function runOne(
  session: BenchSession,
  load: Load,
  { progress, signal }: SweepOptions,
): Promise<StageResult> {
  const { numRequests } = load.plan;
  progress.start(`load, ${loadName(load)}`, numRequests);
  const onRequest = (done: number): void => progress.update(Math.min(done, numRequests), `${done} requests`);
  const result = await session.run(load, { onRequest });
  signal?.throwIfAborted();
  return result;
}

/** Further stages would bring no more than one without a single good answer. */
function refuseFailedStage(
  stage: BenchStage | RateStage,
  { endpoint }: SweepOptions,
  numBefore: number,
): void {
  if (stage.numErrors === 0 || stage.numErrors < stage.numRequests) return;
  throw new MillraceError(
    "endpoint_failed",
    `${failuresOf(stage, endpoint.url)} ${numBefore === 0 ? "" : `${countText(numBefore, "stage")} before it ended well. `}Look at the server's log and run again.`,
  );
}

/** What the files of a stage are called behind their kind. Stages without a rate differ in their requests. */
export function stageFileName(stage: BenchStage | RateStage): string {
  if ("concurrency" in stage) return `c${stage.concurrency}`;
  if (stage.requestRate !== "inf") return `r${stage.requestRate}`;
  return `${stage.burstiness === null ? "t" : "n"}${stage.numRequests}`;
}

/** Where the raw records of a stage are kept. */
export function recordsFile(stage: BenchStage | RateStage): string {
  return `requests_${stageFileName(stage)}.jsonl`;
}
