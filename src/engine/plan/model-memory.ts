import { isMillraceError, type MillraceError } from "../../base/errors.ts";
import { formatCount } from "../../base/units.ts";
import type { Checkpoint } from "../../formats/checkpoint.ts";
import type { KvDtype, LinearWeight } from "../../kernels/ops.ts";
import { type PlannedModel, planModel } from "../../model/plan-model.ts";
import type { EngineOptions } from "../engine-options.ts";
import { defaultBlockSize, type EnginePlan, kvDtypeOf, planEngine } from "../engine-plan.ts";
import { kvBlockBytes } from "../kv-plan.ts";
import { budgetBytes } from "../memory-plan.ts";
import { type PlannedPrecision, planPrecisions } from "./precisions.ts";

export interface ModelPlanInput {
  readonly options: EngineOptions;
  readonly checkpoint: Checkpoint;
  readonly draft: Checkpoint | null;
  readonly freeBytes: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** Rising. */
  readonly concurrencies: readonly number[];
  /** Tokens of each of `concurrencies`' sequences that the KV cache should hold; null: those of a request. */
  readonly contextTokens: number | null;
}

/**
 * What a server's process holds beside what its engine plans: Node.js, code, heap, tokenizer. An estimate, measured under
 * load with a vocabulary of 49,152 (`plan-vs-real`, 2026-11-28): 86 to 125 MiB.
 */
export const nodeBytes: number = 122 * 1024 ** 2;

/** Linears of one class that run alike. */
export interface LinearClass {
  /** Last part of the name: "qkv_proj", "lm_head". */
  readonly name: string;
  readonly count: number;
  readonly weightForm: string;
  readonly inputForm: string;
  readonly sizeBytes: number;
}

/** What a number of sequences of one length need of the KV cache. */
export interface KvNeed {
  readonly concurrency: number;
  readonly contextTokens: number;
  readonly numBlocks: number;
  readonly sizeBytes: number;
  /** How many are computed at once; 0 where the model does not fit. */
  readonly numRunning: number;
  /** What keeps them from all being computed at once, in a few words; null where nothing does. */
  readonly limit: string | null;
}

/** What running a model will take, foreseen from headers. */
export interface ModelMemory {
  /** The model as asked for. */
  readonly planned: PlannedModel;
  /** Of the engine as asked for, or null where it does not fit: then `fault` says why. */
  readonly engine: EnginePlan | null;
  readonly fault: MillraceError | null;
  readonly freeBytes: number;
  /** What of it the engine may take. */
  readonly budgetBytes: number;
  /** Of a server's process once its cache is full, Node.js included; null beside a fault. */
  readonly processBytes: number | null;
  readonly kvDtype: KvDtype;
  readonly blockSize: number;
  readonly kvBytesPerToken: number;
  readonly kvNeeds: readonly KvNeed[];
  readonly linears: readonly LinearClass[];
  readonly precisions: readonly PlannedPrecision[];
}

/**
 * Plans a model's memory from its headers, by the rules that `loadEngine` follows. A model that does not fit is planned as
 * far as it goes. Throws what `planModel` throws.
 */
export function planModelMemory(input: ModelPlanInput): ModelMemory {
  const { options, checkpoint, freeBytes } = input;
  const { engine, fault } = planOrFault(input);
  const planned = engine?.planned ?? planModel(checkpoint, options);
  const kvDtype = kvDtypeOf(options, checkpoint.config, planned.activations === "f32");
  const blockSize = options.blockSize ?? defaultBlockSize;
  const blockBytes = kvBlockBytes(planned.model.kvShape, kvDtype, blockSize);
  return {
    planned,
    engine,
    fault,
    freeBytes,
    budgetBytes: budgetBytes({ freeBytes, utilization: options.memoryUtilization ?? null }),
    processBytes: engine === null ? null : engine.totalBytes + nodeBytes + recastBytes(input, planned),
    kvDtype,
    blockSize,
    kvBytesPerToken: blockBytes / blockSize,
    kvNeeds: input.concurrencies.map((concurrency) => {
      const contextTokens = input.contextTokens ?? input.inputTokens + input.outputTokens;
      const numBlocks = concurrency * Math.ceil(contextTokens / blockSize);
      const running = runningOf({ concurrency, contextTokens, blockSize }, engine, options);
      return { concurrency, contextTokens, numBlocks, sizeBytes: numBlocks * blockBytes, ...running };
    }),
    linears: classesOf(planned.linears),
    precisions: planPrecisions(options, checkpoint, planned),
  };
}

function planOrFault({ options, checkpoint, draft, freeBytes }: ModelPlanInput): {
  readonly engine: EnginePlan | null;
  readonly fault: MillraceError | null;
} {
  try {
    return { engine: planEngine(options, checkpoint, draft, freeBytes), fault: null };
  } catch (error) {
    if (!isMillraceError(error) || error.code !== "out_of_memory") throw error;
    return { engine: null, fault: error };
  }
}

/** Of the largest linear that `--dtype` recasts: what it is packed from lies in JavaScript's memory until that is collected. */
function recastBytes({ options, checkpoint }: ModelPlanInput, { linears }: PlannedModel): number {
  if (options.dtype === "auto") return 0;
  const stored = planModel(checkpoint, { dtype: "auto", activations: "auto" });
  const recast = linears.filter(({ weightForm }, index) => weightForm !== stored.linears[index]!.weightForm);
  return Math.max(0, ...recast.map(({ sizeBytes }) => sizeBytes));
}

/** How many of some sequences of one length are computed at once, and what keeps the others waiting. */
export function runningOf(
  { concurrency, contextTokens, blockSize }: Record<"concurrency" | "contextTokens" | "blockSize", number>,
  engine: EnginePlan | null,
  { maxNumSeqs }: Pick<EngineOptions, "maxNumSeqs">,
): Pick<KvNeed, "numRunning" | "limit"> {
  if (engine === null) return { numRunning: 0, limit: "the plan does not fit" };
  const { numBlocks, maxModelLen } = engine.kv;
  if (contextTokens > maxModelLen)
    return { numRunning: 0, limit: `the longest context is ${formatCount(maxModelLen)}` };
  const held = Math.floor(numBlocks / Math.ceil(contextTokens / blockSize));
  const numRunning = Math.min(concurrency, held, maxNumSeqs);
  if (numRunning === concurrency) return { numRunning, limit: null };
  return {
    numRunning,
    limit:
      held < maxNumSeqs ? `the cache holds ${formatCount(numBlocks)} blocks` : `--max-num-seqs ${maxNumSeqs}`,
  };
}

/** Equal ones together, in the order in which they are first met. */
function classesOf(linears: readonly LinearWeight[]): LinearClass[] {
  const classes = new Map<string, LinearClass>();
  for (const { name, weightForm, inputForm, sizeBytes } of linears) {
    const last = name.slice(name.lastIndexOf(".") + 1);
    const key = `${last} ${weightForm} ${inputForm}`;
    const before = classes.get(key);
    const count = (before?.count ?? 0) + 1;
    classes.set(key, {
      name: last,
      count,
      weightForm,
      inputForm,
      sizeBytes: sizeBytes + (before?.sizeBytes ?? 0),
    });
  }
  return [...classes.values()];
}
