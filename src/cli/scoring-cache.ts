import type { EngineOptions } from "../engine/engine-options.ts";
import { defaultBlockSize, planEngine } from "../engine/engine-plan.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { freeMemoryBytes } from "../kernels/free-memory.ts";

/**
 * Prompts that are only scored need room for those of a few steps and for what they share. Keeping more gains no hit, and
 * takes time: 500 documents of arc_easy and hellaswag on SmolLM2 in f32 took 71 s with 4 GiB and 61 s with 512 MiB, with as
 * many tokens from the cache (Emerald Rapids, 2 cores).
 */
const scoringCacheBytes = 512 * 1024 ** 2;

/**
 * The same engine with a KV cache for scores alone, where nobody asked for a size: never larger than the default, and of at
 * least one longest context, so that prompts are cut where they would be.
 */
export function withScoringCache(
  options: EngineOptions,
  checkpoint: Checkpoint,
  freeBytes: number = freeMemoryBytes(),
): EngineOptions {
  const isAsked = options.kvCacheMemoryBytes !== null || (options.memoryUtilization ?? null) !== null;
  if (isAsked || (options.speculation ?? null) !== null) return options;
  const { kv } = planEngine(options, checkpoint, null, freeBytes);
  const blocksOfContext = Math.ceil(kv.maxModelLen / (options.blockSize ?? defaultBlockSize));
  const leastBytes = (kv.sizeBytes / kv.numBlocks) * blocksOfContext;
  const kvCacheMemoryBytes = Math.max(scoringCacheBytes, leastBytes);
  return kvCacheMemoryBytes < kv.sizeBytes ? { ...options, kvCacheMemoryBytes } : options;
}
