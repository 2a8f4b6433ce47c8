import type { NativeAddon, NativeContext } from "../addon.ts";
import type { Tensor } from "../ops.ts";
import type { SamplingBatch, SamplingOutput } from "../sampling.ts";

interface SamplingRun {
  readonly logits: Tensor;
  readonly batch: SamplingBatch;
  readonly out: SamplingOutput;
}

/** Draws one token for each row: the addon takes every array by itself, so that nothing is allocated in a step. */
export function sampleRows(
  addon: NativeAddon,
  context: NativeContext,
  { logits, batch, out }: SamplingRun,
): void {
  addon.sample(
    context,
    logits.id,
    batch.numRows,
    batch.temperature,
    batch.topK,
    batch.topP,
    batch.minP,
    batch.seeds,
    batch.counters,
    batch.biasStarts,
    batch.biasIds,
    batch.biasValues,
    batch.penalties,
    batch.historyRanges,
    batch.historyIds,
    batch.historyCounts,
    batch.maskRows,
    batch.allowed,
    batch.numLogprobs,
    out.tokenIds,
    out.logprobs,
    out.ranks,
    out.maxLogprobs,
    out.topIds,
    out.topLogprobs,
  );
}
