import { existsSync } from "node:fs";
import path from "node:path";
import { MillraceError } from "../../base/errors.ts";
import { formatBytes, formatCount } from "../../base/units.ts";
import type { Checkpoint } from "../../formats/checkpoint.ts";
import { ConfigReader } from "../../formats/config-reader.ts";
import { readJsonObject } from "../../formats/json-file.ts";
import type { ModelConfig } from "../../formats/model-config.ts";
import { openCheckpoint } from "../../formats/open-checkpoint.ts";
import { readSentenceSettings, type SentenceSettings } from "../../formats/sentence-transformers.ts";
import { createOps } from "../../kernels/create-ops.ts";
import { freeMemoryBytes } from "../../kernels/free-memory.ts";
import { mapFile } from "../../kernels/map-file.ts";
import type { KvCache, Ops } from "../../kernels/ops.ts";
import { type LoadedEncoder, loadEncoder } from "../../model/load-model.ts";
import { isEncoder, requireArchitecture } from "../../model/registry.ts";
import type { EngineInfo } from "../../protocol/engine-client.ts";
import type { EngineOptions, LoadWatch } from "../engine-options.ts";
import { EngineCounters } from "../engine-stats.ts";
import { blocksOfStep, EmbeddingEngine } from "./embedding-engine.ts";

/** Tokens of a block of the step's K and V. No result depends on it. */
const blockSize = 32;

/** Whether a model makes embeddings, by its config.json alone. Throws `invalid_model_file`. */
export function isEmbeddingModel(modelPath: string): boolean {
  const file = path.join(modelPath, "config.json");
  return existsSync(file) && isEncoder(new ConfigReader(readJsonObject(file), file).architecture());
}

/** What an embedding engine will take, for people. Errors: `out_of_memory`. */
function planEmbedding(options: EngineOptions, checkpoint: Checkpoint): readonly string[] {
  const freeBytes = freeMemoryBytes();
  const weights = checkpoint.sizeBytes * (options.dtype === "float32" ? 2 : 1);
  const activations = stepBytes(checkpoint.config, options);
  if (weights + activations > freeBytes) {
    throw new MillraceError(
      "out_of_memory",
      `Weights of ${formatBytes(weights)} and activations of ${formatBytes(activations)} must fit; ${formatBytes(freeBytes)} of memory are free. Start with a smaller --max-num-batched-tokens than ${options.maxNumBatchedTokens}, or free memory.`,
      { param: "--max-num-batched-tokens" },
    );
  }
  return [
    `Memory plan: ${formatBytes(freeBytes)} of memory are free`,
    `  weights     ${formatBytes(weights).padStart(9)}`,
    `  activations ${formatBytes(activations).padStart(9)}  a step of ${formatCount(options.maxNumBatchedTokens)} tokens`,
  ];
}

/** Hidden states, q k v and the feed-forward block's tensors of one layer, and K and V of one layer. */
function stepBytes({ hiddenSize, intermediateSize }: ModelConfig, options: EngineOptions): number {
  const layer = 4 * options.maxNumBatchedTokens * (6 * hiddenSize + 2 * intermediateSize);
  return layer + 8 * blocksOfStep(options, blockSize) * blockSize * hiddenSize;
}

/**
 * Loads an embedding model and makes an engine for it.
 *
 * Errors: those of `openCheckpoint`, `createOps` and `loadEncoder`, `invalid_option` for what such a model has not.
 */
export function loadEmbeddingEngine(options: EngineOptions, watch: LoadWatch = {}): EmbeddingEngine {
  const started = performance.now();
  refuseSpeculation(options);
  const checkpoint = openCheckpoint(options.modelPath, { mapFile, onArchitecture: requireArchitecture });
  let ops: Ops | undefined;
  try {
    const settings = readSentenceSettings(checkpoint.path);
    const maxModelLen = maxTextTokens(options, checkpoint, settings);
    watch.onPlan?.(planEmbedding(options, checkpoint));
    const { backend, isa, numThreads, dtype, activations, attentionDtype = "auto" } = options;
    const created = createOps({ numThreads, backend, isa, attentionDtype });
    ops = created.ops;
    const loaded = loadEncoder(ops, checkpoint, { dtype, activations });
    const limits = {
      maxNumSeqs: options.maxNumSeqs,
      maxNumBatchedTokens: Math.max(options.maxNumBatchedTokens, maxModelLen),
    };
    const shape = { ...loaded.model.kvShape, blockSize, dtype: "f32" as const };
    const cache = ops.createKvCache({ ...shape, numBlocks: blocksOfStep(limits, blockSize) });
    const notes = [...created.notes, ...loaded.notes, poolingNote(settings)];
    const info = describe({
      options,
      config: checkpoint.config,
      ops,
      loaded,
      cache,
      notes,
      started,
      ...limits,
      maxModelLen,
    });
    const pooling = { kind: settings.pooling, normalize: settings.normalize };
    const { counters = new EngineCounters() } = watch;
    return new EmbeddingEngine({ ops, model: loaded.model, pooling, info, cache, counters });
  } catch (error) {
    ops?.close();
    throw error;
  } finally {
    checkpoint.close();
  }
}

interface Loaded extends Pick<EngineInfo, "maxModelLen" | "maxNumSeqs" | "maxNumBatchedTokens"> {
  readonly options: EngineOptions;
  readonly config: ModelConfig;
  readonly ops: Ops;
  readonly loaded: LoadedEncoder;
  readonly cache: KvCache;
  readonly notes: readonly string[];
  /** By `performance.now()`. */
  readonly started: number;
}

function describe({ options, config, ops, loaded, cache, notes, started, ...limits }: Loaded): EngineInfo {
  return {
    architecture: config.architecture,
    embeddingSize: loaded.model.hiddenSize,
    vocabSize: loaded.model.vocabSize,
    ...limits,
    maxPositions: config.maxPositionEmbeddings,
    maxNumQueuedRequests: options.maxNumQueuedRequests,
    maxNumQueuedTokens: options.maxNumQueuedTokens ?? 0,
    numTotalBlocks: cache.numBlocks,
    blockSize,
    kvDtype: "f32",
    backend: ops.backend,
    isa: ops.isa,
    attentionDtype: ops.attentionDtype,
    numThreads: ops.numThreads,
    activations: loaded.activations,
    dtype: loaded.dtype,
    eosTokenIds: [],
    memory: ops.memory(),
    loadTimesMs: { total: performance.now() - started },
    notes: [...notes, lengthNote(config, limits.maxModelLen)],
  };
}

/** Longest text: as asked, else the model's trained length, else its positions. */
function maxTextTokens(
  { maxModelLen }: EngineOptions,
  { config, path: folder }: Checkpoint,
  { maxSeqLength }: SentenceSettings,
): number {
  const { maxPositionEmbeddings } = config;
  if (typeof maxModelLen !== "number") {
    return Math.min(maxSeqLength ?? maxPositionEmbeddings, maxPositionEmbeddings);
  }
  if (maxModelLen <= maxPositionEmbeddings) return maxModelLen;
  throw new MillraceError(
    "invalid_option",
    `--max-model-len is ${formatCount(maxModelLen)}; ${folder} was made for at most ${formatCount(maxPositionEmbeddings)} positions. Give that or less.`,
    { param: "--max-model-len" },
  );
}

function refuseSpeculation({ speculation, modelPath }: EngineOptions): void {
  if (speculation === undefined || speculation === null) return;
  throw new MillraceError(
    "invalid_option",
    `--spec-method is given, but ${modelPath} makes embeddings and draws no tokens. Leave it out.`,
    { param: "--spec-method" },
  );
}

function poolingNote({ pooling, normalize, isGiven }: SentenceSettings): string {
  const what = pooling === "mean" ? "the mean of all tokens" : "the first token";
  const scale = normalize ? ", scaled to length 1" : "";
  return `Embeddings: ${what}${scale}${isGiven ? "" : " (the model has no modules.json)"}`;
}

function lengthNote({ maxPositionEmbeddings }: ModelConfig, maxModelLen: number): string {
  const own = `texts of at most ${formatCount(maxModelLen)} tokens`;
  if (maxModelLen === maxPositionEmbeddings) return own;
  return `${own}; --max-model-len takes up to ${formatCount(maxPositionEmbeddings)}`;
}
