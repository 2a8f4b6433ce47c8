import { isMillraceError, type MillraceError } from "../../base/errors.ts";
import type { Checkpoint } from "../../formats/checkpoint.ts";
import type { KvDtype, LinearWeight } from "../../kernels/ops.ts";
import type { EngineOptions } from "../engine-options.ts";
import { defaultBlockSize, type EnginePlan, kvDtypeOf, planEngine } from "../engine-plan.ts";
import { kvBlockBytes } from "../kv-plan.ts";
import { adviseFlags } from "./advice.ts";
import { precisions } from "./precisions.ts";
import { type PredictedLoad, predictLoad } from "./predict-load.ts";
import type { MachineSpeed } from "./step-time.ts";
import { createStepPlanner, type StepPlanner } from "./step-work.ts";

export interface ModelPlanInput {
  readonly options: EngineOptions;
  readonly checkpoint: Checkpoint;
  readonly draft: Checkpoint | null;
  readonly freeBytes: number;
  /** Null where the machine was not measured: then nothing is said of speed. */
  readonly speed: MachineSpeed | null;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly concurrencies: readonly number[];
  /** Tokens of each of `concurrencies`' sequences that the KV cache should hold; null: those of a request. */
  readonly contextTokens: number | null;
}

/**
 * What a server's process holds beside what its engine plans: Node.js, code, heap, tokenizer. Measured under load with a
 * vocabulary of 49,152 (`plan-vs-real`, 2026-11-28): 86 to 125 MiB.
 */
const nodeBytes = 122 * 1024 ** 2;

/** Linears of one class that run alike. */
export interface LinearClass {
  /** Last part of the name: "qkv_proj", "lm_head". */
  readonly name: string;
  readonly count: number;
  readonly weightForm: string;
  readonly inputForm: string;
  readonly sizeBytes: number;
}

export interface PrecisionPlan {
  readonly name: string;
  readonly from: string;
  readonly weightBytes: number;
  /** Output tokens per second at the fewest and the most in flight. */
  readonly outputTokensPerSecond: readonly number[];
}

export interface KvNeed {
  readonly concurrency: number;
  readonly contextTokens: number;
  readonly sizeBytes: number;
  readonly fits: boolean;
}

/** What running a model will take and give, foreseen from headers. */
export interface ModelPlan {
  /** Of the engine as asked for, or null where it does not fit: then `fault` says why. */
  readonly memory: EnginePlan | null;
  readonly fault: MillraceError | null;
  /** Of a server's process once its cache is full, Node.js included; null beside a fault. */
  readonly processBytes: number | null;
  readonly freeBytes: number;
  /** Of the packed weights, without rotation tables. */
  readonly weightBytes: number;
  readonly kvDtype: KvDtype;
  readonly kvBytesPerToken: number;
  readonly kvNeeds: readonly KvNeed[];
  readonly linears: readonly LinearClass[];
  readonly notes: readonly string[];
  readonly loads: readonly PredictedLoad[];
  readonly precisions: readonly PrecisionPlan[];
  readonly advice: readonly string[];
}

/**
 * Plans a model from its headers: memory by the rules that `loadEngine` follows, kernels, and speed by what a step has to
 * do and what the machine can. A model that does not fit is planned as far as it goes. Throws what `planModel` throws.
 */
export function makeModelPlan(input: ModelPlanInput): ModelPlan {
  const { options, checkpoint, freeBytes } = input;
  const { dtype, activations } = options;
  const own = createStepPlanner(checkpoint, { dtype, activations }, "f16");
  const kvDtype = kvDtypeOf(options, checkpoint.config, own.activations === "f32");
  const planner = kvDtype === "f16" ? own : createStepPlanner(checkpoint, { dtype, activations }, kvDtype);
  const { memory, fault } = planOrFault(input);
  const blockSize = options.blockSize ?? defaultBlockSize;
  const blockBytes = kvBlockBytes(planner.model.kvShape, kvDtype, blockSize);
  const plan = {
    memory,
    fault,
    processBytes: memory === null ? null : memory.totalBytes + nodeBytes + recastBytes(input, planner),
    freeBytes,
    weightBytes: planner.ops.weightBytes,
    kvDtype,
    kvBytesPerToken: blockBytes / blockSize,
    kvNeeds: input.concurrencies.map((concurrency) =>
      kvNeed(input, memory, { concurrency, blockBytes, blockSize }),
    ),
    linears: classesOf(planner.linears),
    notes: planner.notes,
    loads: loadsOf(planner, input, input.concurrencies),
    precisions: planPrecisions(input, kvDtype),
  };
  return { ...plan, advice: adviseFlags(plan, input) };
}

function planOrFault({ options, checkpoint, draft, freeBytes }: ModelPlanInput): {
  readonly memory: EnginePlan | null;
  readonly fault: MillraceError | null;
} {
  try {
    return { memory: planEngine(options, checkpoint, draft, freeBytes), fault: null };
  } catch (error) {
    if (!isMillraceError(error) || error.code !== "out_of_memory") throw error;
    return { memory: null, fault: error };
  }
}

/** Of the largest linear that `--dtype` recasts: what it is packed from lies in JavaScript's memory until that is collected. */
function recastBytes({ options, checkpoint }: ModelPlanInput, { linears }: StepPlanner): number {
  if (options.dtype === "auto") return 0;
  const stored = createStepPlanner(checkpoint, { dtype: "auto", activations: "auto" }, "f16");
  const recast = linears.filter(({ weightForm }, index) => weightForm !== stored.linears[index]!.weightForm);
  return Math.max(0, ...recast.map(({ sizeBytes }) => sizeBytes));
}

function kvNeed(
  { contextTokens: asked, inputTokens, outputTokens }: ModelPlanInput,
  memory: EnginePlan | null,
  { concurrency, blockBytes, blockSize }: Record<"concurrency" | "blockBytes" | "blockSize", number>,
): KvNeed {
  const contextTokens = asked ?? inputTokens + outputTokens;
  const numBlocks = concurrency * Math.ceil(contextTokens / blockSize);
  const fits = memory !== null && numBlocks <= memory.kv.numBlocks && contextTokens <= memory.kv.maxModelLen;
  return { concurrency, contextTokens, sizeBytes: numBlocks * blockBytes, fits };
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

function loadsOf(
  planner: StepPlanner,
  { speed, inputTokens, outputTokens, options }: ModelPlanInput,
  concurrencies: readonly number[],
): PredictedLoad[] {
  if (speed === null) return [];
  const { maxNumBatchedTokens, maxNumSeqs } = options;
  const context = { planner, speed, maxNumBatchedTokens, maxNumSeqs };
  return concurrencies.map((concurrency) => predictLoad(context, { inputTokens, outputTokens, concurrency }));
}

function planPrecisions(input: ModelPlanInput, kvDtype: KvDtype): PrecisionPlan[] {
  const { checkpoint, concurrencies } = input;
  const ends = [...new Set([concurrencies[0]!, concurrencies.at(-1)!])];
  return precisions.map(({ name, from, recast }) => {
    const forms = { dtype: "auto", activations: "auto", recast } as const;
    const planner = createStepPlanner(checkpoint, forms, kvDtype);
    return {
      name,
      from,
      weightBytes: planner.ops.weightBytes,
      outputTokensPerSecond: loadsOf(planner, input, ends).map((load) => load.outputTokensPerSecond),
    };
  });
}
