import { MillraceError } from "../base/errors.ts";
import type { BenchStage } from "../records/bench.ts";
import type { ClosedPlan } from "./closed-loop.ts";
import type { RateLoad } from "./open-loop.ts";

/** Requests of a stage at least: enough that its figures are more than single requests. */
export const minRequests = 8;
/** Requests before the first stage, which warm code and caches; their figures are thrown away. */
export const usualWarmup = 2;

/** A load: of the closed loop, or of requests that come when they are due. */
export type Load =
  | { readonly kind: "closed"; readonly plan: ClosedPlan }
  | { readonly kind: "rate"; readonly plan: RateLoad };

/** The loads of a sweep, one stage each. */
export interface LoadList {
  readonly concurrencies: readonly number[];
  /** Requests of a stage = max(minRequests, requestsPerSeat · concurrency), or more to fill `minSeconds`. */
  readonly requestsPerSeat: number;
  readonly minRequests: number;
  /** A stage goes on until it is so old: fast models get enough requests for a narrow interval. */
  readonly minSeconds: number;
  /** Stages with a request rate, after those of the closed loop. */
  readonly rates?: readonly RateLoad[];
}

export function loadsOf({
  concurrencies,
  requestsPerSeat,
  minRequests,
  minSeconds,
  rates = [],
}: LoadList): Load[] {
  return [
    ...concurrencies.map((concurrency): Load => {
      const numRequests = Math.max(minRequests, requestsPerSeat * concurrency);
      return { kind: "closed", plan: { concurrency, numRequests, minSeconds } };
    }),
    ...rates.map((plan): Load => ({ kind: "rate", plan })),
  ];
}

/** How GuideLLM sweeps. */
export interface SweepProfile {
  /** Stages in all. */
  readonly size: number;
  readonly seconds: number;
  /** Most in flight of the stage that asks for all that the server can do. */
  readonly maxConcurrency: number;
  readonly burstiness: number;
}

/**
 * The first two stages of a sweep: one request at a time, and as many as the server takes, both cut off after the same
 * time. `sweepRates` makes the rest of what they bring.
 */
export function sweepStart({
  seconds,
  maxConcurrency,
}: SweepProfile): LoadList & { readonly maxSeconds: number } {
  return {
    concurrencies: [1, maxConcurrency],
    requestsPerSeat: 1,
    minRequests: 1,
    minSeconds: seconds,
    maxSeconds: seconds,
  };
}

/**
 * Rates between the one of a lone request and the most that the server did, evenly spaced, the last being that most, as
 * GuideLLM has them; none where that most is not above the rate of a lone request, so that there is nothing to go up to.
 * What it did is its steady rate where there was one: the rate over the whole stage leaves out what was in flight at the
 * cut. Throws `invalid_option` where nothing ended before it.
 */
export function sweepRates(
  [alone, most]: readonly BenchStage[],
  { size, seconds, maxConcurrency, burstiness }: SweepProfile,
): RateLoad[] {
  const [low, high] = [alone, most].map((stage) => bestRate(stage!)) as [number, number];
  if (high === 0) {
    throw new MillraceError(
      "invalid_option",
      `With ${maxConcurrency} requests in flight none ended in ${seconds} s, so that a sweep has no rate to go up to. Give more time with --max-seconds, a lower --max-concurrency or a lower --output-tokens.`,
      { param: "--max-seconds" },
    );
  }
  return ratesBetween(low, high, size - 2).map((requestRate) => {
    const numRequests = Math.max(1, Math.ceil(requestRate * seconds));
    return { arrivals: { kind: "rate", requestRate, burstiness }, numRequests, maxConcurrency: null };
  });
}

/** `count` rates evenly from `low` (not among them) to `high`; none where `high` is not above it. */
export function ratesBetween(low: number, high: number, count: number): number[] {
  if (high <= low) return [];
  return Array.from({ length: count }, (_, step) => low + ((high - low) * (step + 1)) / count);
}

function bestRate({ throughput, requestsPerSecond }: BenchStage): number {
  return Math.max(throughput.steady?.requestsPerSecond ?? 0, requestsPerSecond);
}
