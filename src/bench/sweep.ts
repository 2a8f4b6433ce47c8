import { isMillraceError, MillraceError } from "../base/errors.ts";
import { firstModelOf } from "../client/endpoint.ts";
import type { BenchRecord, BenchStage, RateStage, RequestRecord } from "../records/bench.ts";
import type { LoadFigures } from "../records/load-figures.ts";
import { startOrigin } from "../records/origin.ts";
import { arrivalsText } from "./arrivals.ts";
import type { BenchOptions } from "./bench-options.ts";
import { BenchSession, type Load, sentence } from "./bench-session.ts";
import type { RateLoad } from "./open-loop.ts";
import { relativeSpread } from "./ratio-interval.ts";

export interface SweepOptions extends Omit<BenchOptions, "maxInFlight"> {
  readonly concurrencies: readonly number[];
  /** Requests of a stage = max(minRequests, requestsPerSeat · concurrency), or more to fill `minSeconds`. */
  readonly requestsPerSeat: number;
  readonly minRequests: number;
  /** A stage goes on until it is so old: fast models get enough requests for a narrow interval. */
  readonly minSeconds: number;
  /** Stages with a request rate, after those of the closed loop. */
  readonly rates?: readonly RateLoad[];
  /** The server's backend, instruction set and threads, where they are known. */
  readonly kernels?: string | null;
  /** What an hour of the server costs. */
  readonly pricePerHour?: number | null;
  /** Receives the raw records of each stage as soon as it ends, so that a later fault loses nothing. */
  readonly onStage?: (stage: BenchStage | RateStage, records: readonly RequestRecord[]) => void;
  /** Receives the record, also where a fault ends the load early. */
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
  const session = await BenchSession.open({ ...options, maxInFlight: mostInFlight(options) });
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
    for (const load of loadsOf(options)) {
      const stage = await runOne(session, load, options);
      if ("concurrency" in stage) stages.push(stage);
      else rates.push(stage);
      await refuseLostServer(stage, options);
    }
    return recordNow();
  } finally {
    if (stages.length + rates.length > 0 && options.signal?.aborted !== true) options.onRecord?.(recordNow());
    await session.close();
  }
}

/** Connections that no stage runs out of. */
function mostInFlight({ concurrencies, rates = [] }: SweepOptions): number {
  const atRates = rates.map(({ numRequests, maxConcurrency }) => maxConcurrency ?? numRequests);
  return Math.max(1, ...concurrencies, ...atRates);
}

function loadsOf(options: SweepOptions): Load[] {
  const { concurrencies, requestsPerSeat, minRequests, minSeconds, rates = [] } = options;
  return [
    ...concurrencies.map((concurrency): Load => {
      const numRequests = Math.max(minRequests, requestsPerSeat * concurrency);
      return { kind: "closed", plan: { concurrency, numRequests, minSeconds } };
    }),
    ...rates.map((plan): Load => ({ kind: "rate", plan })),
  ];
}

async function runOne(
  session: BenchSession,
  load: Load,
  { progress, signal, onStage }: SweepOptions,
): Promise<BenchStage | RateStage> {
  const { numRequests } = load.plan;
  progress.start(`load, ${loadName(load)}`, numRequests);
  const onRequest = (done: number): void => progress.update(Math.min(done, numRequests), `${done} requests`);
  const { stage, records } = await session.run(load, { onRequest });
  signal?.throwIfAborted();
  onStage?.(stage, records);
  progress.finish(`${stageName(stage)}: ${stageText(stage)}`);
  return stage;
}

function loadName({ kind, plan }: Load): string {
  return kind === "closed" ? `${plan.concurrency} in flight` : arrivalsText(plan.arrivals);
}

/** What a row is called. */
export function stageName(stage: BenchStage | RateStage): string {
  if ("concurrency" in stage) return `${stage.concurrency} in flight`;
  return stage.requestRate === "inf" ? "All at once" : `${rateText(stage.requestRate)} requests/s`;
}

/** A rate without the digits that say nothing. */
export function rateText(rate: number): string {
  return String(Number(rate.toPrecision(4)));
}

/** A stage with failures is kept only where the server still answers. */
async function refuseLostServer(stage: BenchStage | RateStage, options: SweepOptions): Promise<void> {
  if (stage.numErrors === 0) return;
  const { url } = options.endpoint;
  const failed = `${stage.numErrors} of ${stage.numRequests} requests to ${url} failed (${stageName(stage)}; ${errorsText(stage)}). The first: ${sentence(stage.firstError!)}`;
  if (stage.numErrors === stage.numRequests) {
    throw new MillraceError(
      "endpoint_failed",
      `${failed} The stages before are kept; look at the server's log and run again.`,
    );
  }
  try {
    await firstModelOf(options.endpoint, options.signal);
  } catch (error) {
    // A server without a list of models still answers.
    if (isMillraceError(error) && error.code === "endpoint_failed") return;
    if (!isMillraceError(error) || error.code !== "endpoint_unreachable") throw error;
    throw new MillraceError(
      "endpoint_failed",
      `${failed} The server does not answer any more. The records up to then are kept; look at the server's log and run again.`,
      { cause: error },
    );
  }
}

/** Errors by kind: "7 overloaded, 1 broken". */
export function errorsText({ errorsByKind }: LoadFigures): string {
  return Object.entries(errorsByKind)
    .map(([kind, count]) => `${count} ${kind}`)
    .join(", ");
}

function stageText(stage: BenchStage | RateStage): string {
  const errors = stage.numErrors === 0 ? "" : `, ${stage.numErrors} errors (${errorsText(stage)})`;
  const { faults } = stage.client;
  const invalid = faults.length === 0 ? "" : `; does not count: ${faults.join(", ")}`;
  return `${stage.outputTokensPerSecond.toFixed(1)} output tokens/s${spreadText(stage)}, TTFT p50 ${stage.ttftMs?.p50.toFixed(0) ?? "–"} ms, TPOT p50 ${stage.tpotMs?.p50.toFixed(1) ?? "–"} ms${errors}${invalid}`;
}

/** Where the raw records of a stage are kept. */
export function recordsFile(stage: BenchStage | RateStage): string {
  const name = "concurrency" in stage ? `c${stage.concurrency}` : `r${stage.requestRate}`;
  return `requests_${name}.jsonl`;
}

/** The spread of the throughput as " ± 3 %"; nothing for a stage with fewer than two slices. */
export function spreadText(stage: LoadFigures): string {
  const spread = relativeSpread(stage.slices.map((slice) => slice.outputTokensPerSecond));
  return spread === null ? "" : ` ± ${(100 * spread).toFixed(spread < 0.1 ? 1 : 0)} %`;
}
