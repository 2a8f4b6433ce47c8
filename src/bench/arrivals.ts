/** When requests come. */
export interface ArrivalPattern {
  /** Requests per second; Infinity: all at once. */
  readonly requestRate: number;
  /** Shape of the gamma distribution of gaps: 1 gives Poisson arrivals, less gives bursts, Infinity even gaps. */
  readonly burstiness: number;
}

/**
 * Milliseconds after the stage's start at which each of `count` requests is due, ascending. Gaps are gamma-distributed with
 * mean 1 / rate, as in `vllm bench serve`; their sum is scaled to count / rate, so that stages of one rate and different
 * seeds offer the same load (without, 100 Poisson arrivals would vary by ten per cent).
 *
 * @param random values from 0 to below 1
 */
export function dueTimes(
  { requestRate, burstiness }: ArrivalPattern,
  count: number,
  random: () => number,
): Float64Array {
  const due = new Float64Array(count);
  if (requestRate === Number.POSITIVE_INFINITY) return due;
  let sum = 0;
  for (let i = 0; i < count; i += 1) {
    // The first is due at once: a gap lies between two requests, and the last gap ends the stage.
    due[i] = sum;
    sum += burstiness === Number.POSITIVE_INFINITY ? 1 : gamma(burstiness, random);
  }
  const scale = (1000 * count) / requestRate / sum;
  return due.map((at) => at * scale);
}

/** A gamma variate of unit scale (Marsaglia and Tsang 2000, "A simple method for generating gamma variables"). */
function gamma(shape: number, random: () => number): number {
  // Below 1 the method needs the next shape and a power of a uniform number (section 6 there).
  if (shape < 1) return gamma(shape + 1, random) * (1 - random()) ** (1 / shape);
  const d = shape - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const x = normal(random);
    const v = (1 + c * x) ** 3;
    if (v <= 0) continue;
    if (Math.log(1 - random()) < 0.5 * x * x + d - d * v + d * Math.log(v)) return d * v;
  }
}

/** A standard normal variate (Box and Muller 1958). */
function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}
