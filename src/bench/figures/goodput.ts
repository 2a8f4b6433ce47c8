import { normalQuantile as z } from "../../base/quantiles.ts";
import type { RequestRecord } from "../../records/bench.ts";
import type { Goodput } from "../../records/load-figures.ts";
import { e2eFromDueOf, tpotOf, ttftFromDueOf } from "../slices.ts";

export type GoodputTarget = Goodput["targets"][number];

/** Metrics that a request can be held to, by vLLM's names. */
export const goodputMetrics = { ttft: "ttft", tpot: "tpot", e2el: "e2e" } as const;

/**
 * Requests that met every target. Where a request was due, its times run from then. An error is not good; a request that
 * the end of the load cut off is neither, and gives the bounds.
 */
export function goodputOf(
  records: readonly RequestRecord[],
  targets: readonly GoodputTarget[],
  durationMs: number,
): Goodput {
  const judged = records.filter(({ errorKind }) => errorKind !== "censored");
  const numCensored = records.length - judged.length;
  const numGood = judged.filter(
    (record) => record.error === null && targets.every((target) => meets(record, target)),
  ).length;
  const boundOf = (numMore: number): number =>
    records.length === 0 ? 0 : (numGood + numMore) / records.length;
  return {
    targets: [...targets],
    numGood,
    numJudged: judged.length,
    requestsPerSecond: numGood / (durationMs / 1000),
    share: judged.length === 0 ? 0 : numGood / judged.length,
    shareInterval: wilsonInterval(numGood, judged.length),
    censoredBounds: [boundOf(0), boundOf(numCensored)],
  };
}

function meets(record: RequestRecord, { metric, maxMs }: GoodputTarget): boolean {
  if (metric === "ttft") return ttftFromDueOf(record) <= maxMs;
  if (metric === "e2e") return e2eFromDueOf(record) <= maxMs;
  // A single token has no time between tokens.
  return (tpotOf(record) ?? 0) <= maxMs;
}

/** 95 % interval of a share (Wilson 1927, "Probable inference, the law of succession, and statistical inference"). */
export function wilsonInterval(numGood: number, count: number): [number, number] {
  if (count === 0) return [0, 1];
  const share = numGood / count;
  const scale = 1 + z ** 2 / count;
  const centre = (share + z ** 2 / (2 * count)) / scale;
  const half = (z * Math.sqrt((share * (1 - share)) / count + z ** 2 / (4 * count ** 2))) / scale;
  return [Math.max(0, centre - half), Math.min(1, centre + half)];
}
