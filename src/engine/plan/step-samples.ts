/** What is sampled: the seconds of a step, or of a row of decode steps on average. */
export interface Sampler {
  readonly isRow: boolean;
  /** A single step: the first one, which makes room and fills caches. */
  readonly once: () => number;
  readonly sample: () => number;
}

export interface SampleLimits {
  /** Samples are taken for so long at least. */
  readonly leastSeconds: number;
  /** `performance.now()` from which on none is begun. */
  readonly deadline: number;
  /** Every sampler gives one sample at least, even after the deadline. */
  readonly isRequired: boolean;
}

export interface StepTiming {
  /** The median of the samples. */
  readonly seconds: number;
  /** Width of the middle half of the samples, of two or three of all, as a share of the median; null of a single one. */
  readonly spread: number | null;
  readonly numSamples: number;
}

/** Of rows so many that one stalled sample is outvoted; of single steps, which may take seconds, the faster of two counts. */
const leastSamples = { row: 3, step: 2 } as const;
/** A first step that takes so long counts: what it does once is little beside it. */
const longSeconds = 0.5;

/**
 * Takes samples by turns: what slows the machine for a while slows no step in every turn. Null where the deadline came
 * before everything was sampled once.
 */
export function sampleInRounds(
  samplers: readonly Sampler[],
  { leastSeconds, deadline, isRequired }: SampleLimits,
): StepTiming[] | null {
  const all = samplers.map((sampler) => ({ ...sampler, first: 0, samples: [] as number[] }));
  for (const one of all) {
    if (!isRequired && performance.now() > deadline) return null;
    one.first = one.once();
    if (one.first >= longSeconds) one.samples.push(one.first);
  }
  const end = performance.now() + 1000 * leastSeconds;
  for (let isMore = true; isMore; ) {
    isMore = false;
    for (const { isRow, sample, samples } of all) {
      const now = performance.now();
      if (now > deadline) break;
      if (now > end && samples.length >= (isRow ? leastSamples.row : leastSamples.step)) continue;
      samples.push(sample());
      isMore = true;
    }
  }
  return all.map(({ samples, first }) => timingOf(samples.length === 0 ? [first] : samples));
}

function timingOf(samples: readonly number[]): StepTiming {
  const sorted = samples.toSorted((a, b) => a - b);
  const numSamples = sorted.length;
  const seconds = sorted[(numSamples - 1) >> 1]!;
  const cut = Math.floor(numSamples / 4);
  const spread = numSamples < 2 ? null : (sorted[numSamples - 1 - cut]! - sorted[cut]!) / seconds;
  return { seconds, spread, numSamples };
}
