import type { BenchStage, RateStage } from "../records/bench.ts";
import type { LoadFigures } from "../records/load-figures.ts";
import { arrivalsText } from "./arrivals.ts";
import type { Load } from "./loads.ts";
import { relativeSpread, sliceError } from "./ratio-interval.ts";

/** What a load is called before it ran. */
export function loadName({ kind, plan }: Load): string {
  return kind === "closed" ? `${plan.concurrency} in flight` : arrivalsText(plan.arrivals);
}

/** What a row is called. */
export function stageName(stage: BenchStage | RateStage): string {
  if ("concurrency" in stage) return `${stage.concurrency} in flight`;
  if (stage.requestRate !== "inf") return `${rateText(stage.requestRate)} requests/s`;
  const requests = countText(stage.numRequests, "request");
  // A trace of one request, or of equal times, has no rate.
  if (stage.burstiness === null) return `${requests} ${stage.arrivals}`;
  return stage.numRequests === 1 ? `${requests} at once` : `All ${stage.numRequests} at once`;
}

/** "1 request", "2 requests". */
export function countText(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** A rate without the digits that say nothing. */
export function rateText(rate: number): string {
  return String(Number(rate.toPrecision(4)));
}

/** Errors by kind: "7 overloaded, 1 broken". */
export function errorsText({ errorsByKind }: LoadFigures): string {
  return Object.entries(errorsByKind)
    .map(([kind, count]) => `${count} ${kind}`)
    .join(", ");
}

/** Of an open loop whose limit was reached. */
export function heldBackText({ maxConcurrency }: RateStage): string {
  return `${maxConcurrency} in flight was reached, and requests waited for others; from then on it was a closed loop`;
}

/** A stage's main figures in a line. */
export function stageText(stage: BenchStage | RateStage): string {
  const errors = stage.numErrors === 0 ? "" : `, ${stage.numErrors} errors (${errorsText(stage)})`;
  const { faults } = stage.client;
  const invalid = faults.length === 0 ? "" : `; does not count: ${faults.join(", ")}`;
  return `${stage.outputTokensPerSecond.toFixed(1)} output tokens/s${spreadText(stage)}, TTFT p50 ${stage.ttftMs?.p50.toFixed(0) ?? "–"} ms, TPOT p50 ${stage.tpotMs?.p50.toFixed(1) ?? "–"} ms${errors}${invalid}`;
}

/**
 * The spread of the throughput as " ± 3 %"; nothing for a stage with fewer than two slices, nor for one with a rate, where
 * it would be that of the arrivals. Two slices that differ give an interval many times as wide as the figure, of which only
 * this is worth saying.
 */
export function spreadText(
  stage: Pick<LoadFigures, "slices"> & Partial<Pick<RateStage, "requestRate">>,
): string {
  if (typeof stage.requestRate === "number") return "";
  const error = sliceError([stage.slices.map((slice) => slice.outputTokensPerSecond)]);
  if (error === null) return "";
  const spread = relativeSpread(error);
  return spread > 1 ? " ± > 100 %" : ` ± ${(100 * spread).toFixed(spread < 0.1 ? 1 : 0)} %`;
}
