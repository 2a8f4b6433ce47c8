import { formatBytes, formatCount } from "../../base/units.ts";
import type { KvDtype } from "../../kernels/ops.ts";
import type { EngineOptions } from "../engine-options.ts";
import type { EnginePlan } from "../engine-plan.ts";
import { kvBlockBytes } from "../kv-plan.ts";
import type { KvNeed, ModelMemory } from "./model-memory.ts";
import { isSteady, type ModelSpeed, type PrecisionSpeed } from "./model-speed.ts";
import type { PlannedPrecision } from "./precisions.ts";
import type { PredictedLoad } from "./predict-load.ts";

/** Share of what may be taken that weights may have so that something is left for the rest. */
const weightShare = 0.8;

export interface WeightAdviceInput extends Pick<ModelMemory, "budgetBytes"> {
  readonly weightBytes: number;
  readonly precisions: readonly Pick<PlannedPrecision, "name" | "weightBytes" | "command">[];
}

/** What would make the weights fit: the widest precision that leaves room for the rest. */
export function adviseWeights({ budgetBytes, weightBytes, precisions }: WeightAdviceInput): string[] {
  const room = weightShare * budgetBytes;
  if (weightBytes < room) return [];
  const smaller = precisions.find((precision) => precision.weightBytes < room);
  if (smaller?.command != null) {
    return [
      `As ${smaller.name} the weights would take ${formatBytes(smaller.weightBytes)}: \`${smaller.command}\`.`,
    ];
  }
  const all = precisions.map((precision) => precision.weightBytes);
  const least = formatBytes(Math.min(weightBytes, ...all));
  return [
    `No precision fits well into ${formatBytes(budgetBytes)}: the narrowest has weights of ${least}, and a cache and activations ` +
      "come to them. Free memory, or take a smaller model.",
  ];
}

export interface KvAdviceInput extends Pick<ModelMemory, "kvDtype" | "blockSize"> {
  readonly engine: Pick<EnginePlan, "freeBytes" | "totalBytes" | "kv" | "shape" | "draft">;
  /** Of the most sequences. */
  readonly need: KvNeed;
  readonly options: Pick<
    EngineOptions,
    "maxNumSeqs" | "maxNumBatchedTokens" | "kvCacheMemoryBytes" | "memoryUtilization"
  >;
  readonly isContextAsked: boolean;
}

/** The flags that give the most sequences their room, or take back room that nobody needs. */
export function adviseKv(input: KvAdviceInput): string[] {
  const { engine, need, options, isContextAsked } = input;
  const { concurrency, contextTokens, sizeBytes, limit } = need;
  const isAlreadySized = options.kvCacheMemoryBytes !== null || (options.memoryUtilization ?? null) !== null;
  if (limit !== null) return adviseRoom(input);
  if (!isContextAsked || isAlreadySized || engine.kv.sizeBytes <= 4 * sizeBytes) return [];
  return [
    `The KV cache holds more than four times what ${concurrency} such sequences need; ` +
      `--kv-cache-memory-bytes ${mebibytes(sizeBytes)} --max-model-len ${contextTokens} leaves the rest of the memory free.`,
  ];
}

function adviseRoom(input: KvAdviceInput): string[] {
  const { engine, need, options, kvDtype } = input;
  const { concurrency, contextTokens, numBlocks } = need;
  const who = `${concurrency} sequences of ${formatCount(contextTokens)} tokens`;
  const more = moreSeqs(concurrency, options);
  if (numBlocks <= engine.kv.numBlocks && contextTokens <= engine.kv.maxModelLen) {
    return [`${who} are computed at once with ${more.join(" ")}.`];
  }
  const bytesIn = (dtype: KvDtype): number => numBlocks * blockBytesIn(input, dtype);
  const wanted = `${who} need ${formatBytes(bytesIn(kvDtype))} of KV cache`;
  const dtype = [kvDtype, "int8" as const].find((each) => bytesIn(each) <= spareBytes(input));
  if (dtype === undefined) return [`${wanted}, which is not there; ${whatFits(input)}.`];
  const narrower = dtype === kvDtype ? [] : [`--kv-cache-dtype ${dtype}`];
  const flags = [...narrower, sizeFlag(input, bytesIn(dtype)), `--max-model-len ${contextTokens}`, ...more];
  const less = dtype === kvDtype ? "" : `, and ${formatBytes(bytesIn(dtype))} in ${dtype}`;
  return [`${wanted}${less}: ${flags.join(" ")}.`];
}

/** What all that is not KV leaves of the free memory. */
function spareBytes({ engine }: KvAdviceInput): number {
  return engine.freeBytes - engine.totalBytes + engine.kv.sizeBytes + engine.kv.draftBytes;
}

/** Of a block in the cache and of its twin in the draft's. */
function blockBytesIn({ engine, blockSize }: KvAdviceInput, dtype: KvDtype): number {
  const ofDraft = engine.draft === null ? 0 : kvBlockBytes(engine.draft.shape, dtype, blockSize);
  return kvBlockBytes(engine.shape, dtype, blockSize) + ofDraft;
}

function whatFits(input: KvAdviceInput): string {
  const { concurrency, numBlocks } = input.need;
  const numIn = (dtype: KvDtype): number =>
    Math.floor(spareBytes(input) / ((numBlocks / concurrency) * blockBytesIn(input, dtype)));
  const [now, narrow] = [numIn(input.kvDtype), numIn("int8")];
  const more = narrow > now ? `, ${formatCount(narrow)} with --kv-cache-dtype int8` : "";
  return `at most ${formatCount(now)} would fit${more}`;
}

/** Only one flag may size the cache. */
function sizeFlag({ engine, options }: KvAdviceInput, bytes: number): string {
  if ((options.memoryUtilization ?? null) === null) return `--kv-cache-memory-bytes ${mebibytes(bytes)}`;
  const others = engine.totalBytes - engine.kv.sizeBytes - engine.kv.draftBytes;
  return `--memory-utilization ${(Math.ceil((100 * (others + bytes)) / engine.freeBytes) / 100).toFixed(2)}`;
}

function moreSeqs(
  concurrency: number,
  { maxNumSeqs, maxNumBatchedTokens }: KvAdviceInput["options"],
): string[] {
  const flags: string[] = [];
  if (concurrency > maxNumSeqs) flags.push(`--max-num-seqs ${concurrency}`);
  if (concurrency > maxNumBatchedTokens) flags.push(`--max-num-batched-tokens ${concurrency}`);
  return flags;
}

function mebibytes(bytes: number): string {
  return `${Math.ceil(bytes / 1024 ** 2)}MiB`;
}

/** A change of speed below this is not worth a sentence: the prediction is no finer. */
const leastGain = 1.25;

export type SpeedAdviceInput = Pick<ModelSpeed, "loads" | "doubts"> & {
  readonly modelPath: string;
  readonly precisions: readonly Pick<PrecisionSpeed, "name" | "isNow" | "isFlagOnly" | "command" | "loads">[];
};

/**
 * The precision that is fastest at the fewest in flight, the one at the most, and the best of those that a flag makes;
 * nothing where the figures are in doubt.
 */
export function adviseSpeed({ loads, doubts, precisions, modelPath }: SpeedAdviceInput): string[] {
  if (doubts.length > 0 || loads.length === 0) return [];
  const ends = [...new Set([loads[0]!, loads.at(-1)!])];
  const others = precisions.filter(({ isNow }) => !isNow);
  const gains = new Map<SpeedAdviceInput["precisions"][number], string[]>();
  for (const candidates of [others, others.filter(({ isFlagOnly }) => isFlagOnly)]) {
    for (const load of ends) {
      const best = fastest(candidates, load);
      if (best === null) continue;
      const text = `${best.gain.toFixed(1)} times as fast at ${load.concurrency} in flight`;
      gains.set(best.precision, [...new Set([...(gains.get(best.precision) ?? []), text])]);
    }
  }
  return [...gains].map(([{ name, command }, texts]) => {
    const loss =
      name === "q4_0"
        ? ` 4 bits lose accuracy: measure it with \`millrace diff ${modelPath} OUT --text FILE\`.`
        : "";
    return `As ${name}: ${texts.join(", ")}; \`${command}\`.${loss}`;
  });
}

function fastest(
  precisions: SpeedAdviceInput["precisions"],
  load: PredictedLoad,
): { readonly precision: SpeedAdviceInput["precisions"][number]; readonly gain: number } | null {
  const gains = precisions.flatMap((precision) => {
    const of = precision.loads.find(({ concurrency }) => concurrency === load.concurrency);
    if (of === undefined || !isSteady(of)) return [];
    return [{ precision, gain: of.outputTokensPerSecond / load.outputTokensPerSecond }];
  });
  const best = gains.toSorted((a, b) => b.gain - a.gain)[0];
  return best === undefined || best.gain < leastGain ? null : best;
}
