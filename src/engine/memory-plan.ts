import { MillraceError } from "../base/errors.ts";
import { formatBytes, formatCount } from "../base/units.ts";
import type { PrecisionOptions } from "../model/causal-model.ts";
import { type KvPlan, type KvPlanInput, type KvTokenShape, kvBlockBytes, planKvCache } from "./kv-plan.ts";

/** What a draft model takes beside the model that it guesses for. */
export interface DraftSizes {
  readonly shape: KvTokenShape;
  readonly weightBytes: number;
  readonly activationBytes: number;
}

export interface MemoryPlanInput extends Omit<KvPlanInput, "availableBytes" | "isFilling" | "draftShape"> {
  /** What the system and its control groups still give. */
  readonly freeBytes: number;
  /** Share of `freeBytes` that everything together may take and the KV cache fills, 0 to 1; null: all, unfilled. */
  readonly utilization: number | null;
  /** Rotation tables included. */
  readonly weightBytes: number;
  /** Of the weights, the tables of the context's positions. */
  readonly rotationBytes: number;
  readonly draft: DraftSizes | null;
  /** Largest step, of the model or of its draft. */
  readonly activationBytes: number;
  readonly maxNumBatchedTokens: number;
  /** Room for preempted sequences; 0 for none. */
  readonly swapSpaceBytes: number;
  /** What float weights become, for advice. */
  readonly weightDtype: PrecisionOptions["dtype"];
}

export interface MemoryPlan {
  readonly kv: KvPlan;
  /** Blocks of the host tier; 0 for none. */
  readonly numHostBlocks: number;
  readonly totalBytes: number;
  /** A table to print before any of it is taken. */
  readonly lines: readonly string[];
}

/**
 * Shares out the free memory: weights, activations and host tier as they are, the KV cache and the draft model's from
 * what is left. The sum never exceeds the free memory, or the share of it that was asked for.
 *
 * Errors: `invalid_option` for two flags that size the same thing or a swap space below one block, `out_of_memory`.
 */
export function planMemory(input: MemoryPlanInput): MemoryPlan {
  const { weightBytes, rotationBytes, activationBytes, draft } = input;
  checkFlags(input);
  const budget = budgetBytes(input);
  const limit = limitText(input, budget);
  checkWeightsFit(input, budget, limit);
  const blockBytes = kvBlockBytes(input.shape, input.dtype, input.blockSize);
  const numHostBlocks = Math.floor(input.swapSpaceBytes / blockBytes);
  const hostBytes = numHostBlocks * blockBytes;
  const draftWeightBytes = draft?.weightBytes ?? 0;
  const fixedBytes = weightBytes + draftWeightBytes + activationBytes + hostBytes;
  if (fixedBytes > budget) throw stepDoesNotFit(input, hostBytes, limit);
  const kv = planKvCache({
    ...input,
    draftShape: draft?.shape ?? null,
    availableBytes: budget - fixedBytes,
    isFilling: input.utilization !== null,
  });
  const totalBytes = fixedBytes + kv.sizeBytes + kv.draftBytes;
  const lines = [
    `Memory plan: ${limit}`,
    row("weights", weightBytes - rotationBytes, "from the file's header"),
    ...(rotationBytes === 0
      ? []
      : [row("rotation", rotationBytes, `tables of ${formatCount(kv.maxModelLen)} positions`)]),
    row("KV cache", kv.sizeBytes, kv.contents),
    ...draftRows(draft, kv),
    row("activations", activationBytes, `a step of ${formatCount(input.maxNumBatchedTokens)} tokens`),
    ...(numHostBlocks === 0 ? [] : [row("host tier", hostBytes, hostText(numHostBlocks, input.blockSize))]),
    row("together", totalBytes, ""),
  ];
  return { kv, numHostBlocks, totalBytes, lines };
}

/** What everything together may take. */
export function budgetBytes({
  freeBytes,
  utilization,
}: Pick<MemoryPlanInput, "freeBytes" | "utilization">): number {
  return utilization === null ? freeBytes : Math.floor(freeBytes * utilization);
}

function row(name: string, bytes: number, text: string): string {
  return `  ${name.padEnd(12)}${formatBytes(bytes).padStart(9)}  ${text}`.trimEnd();
}

function draftRows(draft: DraftSizes | null, kv: KvPlan): string[] {
  if (draft === null) return [];
  return [
    row("draft", draft.weightBytes, "weights of --spec-model, from the file's header"),
    row("draft KV", kv.draftBytes, `${formatCount(kv.numBlocks)} blocks, those of the KV cache`),
  ];
}

function hostText(numHostBlocks: number, blockSize: number): string {
  return `${formatCount(numHostBlocks)} blocks, ${formatCount(numHostBlocks * blockSize)} tokens of preempted sequences`;
}

function limitText({ utilization, freeBytes }: MemoryPlanInput, budget: number): string {
  const free = formatBytes(freeBytes);
  if (utilization === null) return `${free} of memory are free`;
  return `--memory-utilization ${utilization} allows ${formatBytes(budget)} of the ${free} of memory that are free`;
}

function checkFlags(input: MemoryPlanInput): void {
  const { utilization, kvCacheMemoryBytes, swapSpaceBytes } = input;
  if (utilization !== null && kvCacheMemoryBytes !== null) {
    throw new MillraceError(
      "invalid_option",
      `--memory-utilization ${utilization} and --kv-cache-memory-bytes ${formatBytes(kvCacheMemoryBytes)} both size the ` +
        "KV cache; only one of them may. Leave one out.",
      { param: "--memory-utilization" },
    );
  }
  const blockBytes = kvBlockBytes(input.shape, input.dtype, input.blockSize);
  if (swapSpaceBytes === 0 || swapSpaceBytes >= blockBytes) return;
  throw new MillraceError(
    "invalid_option",
    `--swap-space is ${formatBytes(swapSpaceBytes)}; a KV block of this model takes ${formatBytes(blockBytes)}, and at ` +
      "least one must fit. Give a size such as 1GiB, or leave the flag out.",
    { param: "--swap-space" },
  );
}

function checkWeightsFit(
  { weightBytes, draft, weightDtype }: MemoryPlanInput,
  budget: number,
  limit: string,
): void {
  const draftBytes = draft?.weightBytes ?? 0;
  if (weightBytes + draftBytes <= budget) return;
  const ofDraft = draft === null ? "" : `, and those of the draft ${formatBytes(draftBytes)}`;
  const smaller =
    weightDtype === "auto"
      ? "take a model quantised to fewer bits (`millrace quantize`)"
      : "start with --dtype auto, which keeps the file's own types";
  throw new MillraceError(
    "out_of_memory",
    `The weights need ${formatBytes(weightBytes)}${ofDraft}; ${limit}. Free memory, or ${smaller}${withoutDraft(draft)}.`,
    { param: weightBytes > budget ? "--dtype" : "--spec-model" },
  );
}

function stepDoesNotFit(input: MemoryPlanInput, hostBytes: number, limit: string): MillraceError {
  const { weightBytes, activationBytes, maxNumBatchedTokens, draft } = input;
  const ofDraft = draft === null ? "" : `, ${formatBytes(draft.weightBytes)} of the draft`;
  const host = hostBytes === 0 ? "" : `, ${formatBytes(hostBytes)} of --swap-space`;
  const remedy = hostBytes === 0 ? "" : ", or a smaller --swap-space";
  return new MillraceError(
    "out_of_memory",
    `Weights of ${formatBytes(weightBytes)}${ofDraft}, activations of ${formatBytes(activationBytes)}${host} and at least ` +
      `one KV block must fit; ${limit}. Start with a smaller --max-num-batched-tokens than ${maxNumBatchedTokens}` +
      `${remedy}${withoutDraft(draft)}, or free memory.`,
    { param: hostBytes === 0 ? "--max-num-batched-tokens" : "--swap-space" },
  );
}

function withoutDraft(draft: DraftSizes | null): string {
  return draft === null ? "" : ", or without --spec-model";
}
