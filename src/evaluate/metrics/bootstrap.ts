import { PythonRandom } from "../prompts/python-random.ts";
import { mean, sum } from "../statistics.ts";

/** Resamples that share one generator in lm-eval. */
const chunkSize = 1000;

/**
 * lm-eval's `bootstrap_stderr`: the sample deviation of a statistic of the mean over resamples. Chunk i draws with
 * Python's generator seeded i, `floor(random() · n)` for each row. Null where there is nothing to resample.
 */
export function bootstrapError(
  values: readonly number[],
  ofMean: (mean: number) => number,
  numResamples: number,
): number | null {
  if (values.length < 2 || numResamples < 2) return null;
  const figures: number[] = [];
  for (let chunk = 0; figures.length < numResamples; chunk += 1) {
    const random = new PythonRandom(chunk);
    const count = Math.min(chunkSize, numResamples - figures.length);
    for (let i = 0; i < count; i += 1) figures.push(ofMean(resampledMean(values, random)));
  }
  const center = mean(figures);
  return Math.sqrt(sum(figures.map((figure) => (figure - center) ** 2)) / (figures.length - 1));
}

function resampledMean(values: readonly number[], random: PythonRandom): number {
  let total = 0;
  for (let i = 0; i < values.length; i += 1) total += values[Math.floor(random.random() * values.length)]!;
  return total / values.length;
}
