import { setImmediate as nextTurn } from "node:timers/promises";
import type { Progress } from "../../base/progress.ts";
import type { Checkpoint } from "../../formats/checkpoint.ts";
import { dequantize } from "../../formats/dequantize.ts";
import { sliceRows } from "../../formats/slice-rows.ts";
import type { InputSample, StatisticsCollector } from "../calibration/collect-statistics.ts";
import type { QuantizationTarget } from "../plan.ts";
import { rowBands } from "../row-bands.ts";
import { candidateFactors, ExpectedErrors, fitToNorm } from "./choose-factors.ts";
import { type FoldSite, findFoldSites } from "./fold-sites.ts";
import type { WeightTransform } from "./weight-transform.ts";

export interface SmoothingParts {
  readonly checkpoint: Checkpoint;
  readonly collector: StatisticsCollector;
  readonly targets: readonly QuantizationTarget[];
  readonly bandElements: number;
  readonly progress: Progress;
}

/**
 * Chooses factors for every input that they can be folded into, by the error that rounding is expected to bring; an input
 * keeps its own where none helps. Returns the change, and a note on it.
 */
export async function smoothModel(parts: SmoothingParts): Promise<{
  readonly transform: WeightTransform;
  readonly note: string;
}> {
  const { checkpoint, collector, targets, progress } = parts;
  const sites = findFoldSites(checkpoint, targets);
  const samples = await collector.sample(new Map(sites.map(({ input, cols }) => [input, cols])), progress);
  const transform = {
    columns: new Map<string, Float32Array>(),
    rows: new Map<string, Float32Array>(),
    vectors: new Map<string, Float32Array>(),
  };
  let numChanged = 0;
  progress.start("smooth", sites.length);
  for (const [index, site] of sites.entries()) {
    await nextTurn();
    const factors = factorsOf(parts, site, samples.get(site.input)!);
    if (factors !== null) {
      numChanged += 1;
      for (const { module } of site.consumers) transform.columns.set(module, factors);
      if (site.producer.kind === "rows") transform.rows.set(site.producer.module, factors);
      else {
        const { name, offset } = site.producer;
        const norm = checkpoint.vector(name);
        transform.vectors.set(
          name,
          norm.map((value, j) => (value + offset) / factors[j]! - offset),
        );
      }
    }
    progress.update(index + 1, site.input);
  }
  progress.finish();
  return { transform, note: `Factors were folded into ${numChanged} of ${sites.length} inputs.` };
}

/** Null where none helps, or no token came by. */
function factorsOf(parts: SmoothingParts, site: FoldSite, sample: InputSample): Float32Array | null {
  if (sample.rows.length === 0) return null;
  const { producer, consumers, cols } = site;
  const largest = new Float32Array(cols);
  forEachBand(parts, consumers, (values) => {
    for (let i = 0; i < values.length; i += 1)
      largest[i % cols] = Math.max(largest[i % cols]!, Math.abs(values[i]!));
  });
  const free = candidateFactors(sample, { largest });
  const candidates =
    producer.kind === "norm"
      ? fitToNorm(free, parts.checkpoint.vector(producer.name), producer.offset)
      : free;
  const errors = new ExpectedErrors(candidates, sample, consumers[0]!.scheme);
  forEachBand(parts, consumers, (values) => errors.addRows(values));
  const best = errors.best();
  return best === candidates[0] ? null : best;
}

function forEachBand(
  { checkpoint, bandElements }: SmoothingParts,
  targets: readonly QuantizationTarget[],
  onValues: (values: Float32Array) => void,
): void {
  for (const { source, rows, cols } of targets) {
    const weight = checkpoint.linear(source);
    for (const { first, count } of rowBands(rows, cols, bandElements)) {
      onValues(dequantize(sliceRows(weight, first, count)));
      checkpoint.dropPages();
    }
  }
}
