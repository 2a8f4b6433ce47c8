import { gamma } from "./random.ts";

/** When requests come. */
export type Arrivals =
  | {
      readonly kind: "rate";
      /** Requests per second; Infinity: all at once. */
      readonly requestRate: number;
      /** Shape of the gamma distribution of gaps: 1 gives Poisson arrivals, less gives bursts, Infinity even gaps. */
      readonly burstiness: number;
    }
  | {
      readonly kind: "ramp";
      /** Requests per second at the start and at the end; as in `vllm bench serve`. */
      readonly fromRate: number;
      readonly toRate: number;
      readonly growth: "linear" | "exponential";
      readonly burstiness: number;
    }
  | {
      readonly kind: "times";
      /** Milliseconds after the stage's start, ascending. */
      readonly dueMs: readonly number[];
      readonly name: string;
    };

/**
 * Milliseconds after the stage's start at which each of `count` requests is due, ascending. Gaps are gamma-distributed with
 * mean 1 / rate, as in `vllm bench serve`; their sum is scaled to what the rate gives, so that stages of one rate and
 * different seeds offer the same load (without, 100 Poisson arrivals would vary by ten per cent).
 *
 * @param random values from 0 to below 1
 */
export function dueTimes(arrivals: Arrivals, count: number, random: () => number): Float64Array {
  if (arrivals.kind === "times") return Float64Array.from(arrivals.dueMs.slice(0, count));
  const due = new Float64Array(count);
  const rateAt = rateOf(arrivals, count);
  if (rateAt(0) === Number.POSITIVE_INFINITY) return due;
  let [sum, even] = [0, 0];
  for (let i = 0; i < count; i += 1) {
    // The first is due at once: a gap lies between two requests, and the last gap ends the stage.
    due[i] = sum;
    const gap =
      arrivals.burstiness === Number.POSITIVE_INFINITY
        ? 1
        : gamma(arrivals.burstiness, random) / arrivals.burstiness;
    sum += gap / rateAt(i);
    even += 1 / rateAt(i);
  }
  const scale = (1000 * even) / sum;
  return due.map((at) => at * scale);
}

function rateOf(arrivals: Exclude<Arrivals, { kind: "times" }>, count: number): (index: number) => number {
  if (arrivals.kind === "rate") return () => arrivals.requestRate;
  const { fromRate, toRate, growth } = arrivals;
  return (index) => {
    const progress = count === 1 ? 0 : index / (count - 1);
    return growth === "linear"
      ? fromRate + (toRate - fromRate) * progress
      : fromRate * (toRate / fromRate) ** progress;
  };
}

/** Requests per second on average over `count` requests that are due at these times; Infinity: all at once. */
export function meanRate(arrivals: Arrivals, due: Float64Array): number {
  if (arrivals.kind === "rate") return arrivals.requestRate;
  const last = due.at(-1) ?? 0;
  // As many gaps as requests: the last one ends the stage.
  return last === 0 ? Number.POSITIVE_INFINITY : (1000 * (due.length - 1)) / last;
}

/** How requests come, in words. */
export function arrivalsText(arrivals: Arrivals): string {
  if (arrivals.kind === "times") return `as in ${arrivals.name}`;
  const { burstiness } = arrivals;
  if (arrivals.kind === "rate" && arrivals.requestRate === Number.POSITIVE_INFINITY) return "all at once";
  const shape =
    burstiness === Number.POSITIVE_INFINITY
      ? "constant"
      : burstiness === 1
        ? "Poisson"
        : `gamma, burstiness ${burstiness}`;
  return arrivals.kind === "rate"
    ? shape
    : `${shape}, ${arrivals.growth} ramp from ${arrivals.fromRate} to ${arrivals.toRate} requests/s`;
}
