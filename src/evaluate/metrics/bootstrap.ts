import { PythonRandom } from "../prompts/python-random.ts";
import { mean, sum } from "../statistics.ts";

/** Resamples that share one generator in lm-eval. */
const chunkSize = 1000;

/**
 * A statistic of the mean of resamples, as a standard error: lm-eval's `bootstrap_stderr`. Null where there is nothing to
 * resample.
 */
export function bootstrapError(
  values: readonly number[],
  ofMean: (mean: number) => number,
  numResamples: number,
): number | null {
  return sampleDeviation(
    bootstrapFigures(values, (drawn) => ofMean(sumOf(drawn) / drawn.length), numResamples),
  );
}

/**
 * A statistic over resamples of the values. Chunk i draws with Python's generator seeded i, `floor(random() · n)` for each
 * place. The array that the statistic is given is used again.
 */
export function bootstrapFigures<T>(
  values: readonly T[],
  statistic: (drawn: readonly T[]) => number,
  numResamples: number,
): number[] {
  const figures: number[] = [];
  const numValues = values.length;
  if (numValues < 2) return figures;
  const drawn = [...values];
  for (let chunk = 0; figures.length < numResamples; chunk += 1) {
    const random = new PythonRandom(chunk);
    const count = Math.min(chunkSize, numResamples - figures.length);
    for (let i = 0; i < count; i += 1) {
      for (let place = 0; place < numValues; place += 1)
        drawn[place] = values[Math.floor(random.random() * numValues)]!;
      figures.push(statistic(drawn));
    }
  }
  return figures;
}

/** Null for fewer than two figures. */
export function sampleDeviation(figures: readonly number[]): number | null {
  if (figures.length < 2) return null;
  const center = mean(figures);
  return Math.sqrt(sum(figures.map((figure) => (figure - center) ** 2)) / (figures.length - 1));
}

function sumOf(values: readonly number[]): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
