import { isMillraceError, type MillraceError } from "../../base/errors.ts";
import type { Checkpoint } from "../../formats/checkpoint.ts";
import type { KvDtype, LinearWeight } from "../../kernels/ops.ts";
import { type PlannedModel, planModel } from "../../model/plan-model.ts";
import { takenForm } from "../../model/weight-loader.ts";
import type { EngineOptions } from "../engine-options.ts";
import { defaultBlockSize, type EnginePlan, kvDtypeOf, planEngine } from "../engine-plan.ts";
import { kvBlockBytes } from "../kv-plan.ts";
import { adviseFlags } from "./advice.ts";
import { precisions } from "./precisions.ts";
import { type PredictedLoad, predictLoad, shapesOf, stepsOfLoad } from "./predict-load.ts";
import type { StepTimer, TimedModel } from "./time-steps.ts";

export interface ModelPlanInput {
  readonly options: EngineOptions;
  readonly checkpoint: Checkpoint;
  readonly draft: Checkpoint | null;
  readonly freeBytes: number;
  /** Null where the kernels are not to be had: then nothing is said of speed. */
  readonly timer: StepTimer | null;
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
  /** Output tokens per second at the fewest and the most in flight; none where they cannot be foreseen. */
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
  const planned = planModel(checkpoint, { dtype, activations });
  const kvDtype = kvDtypeOf(options, checkpoint.config, planned.activations === "f32");
  const { memory, fault } = planOrFault(input);
  const blockSize = options.blockSize ?? defaultBlockSize;
  const blockBytes = kvBlockBytes(planned.model.kvShape, kvDtype, blockSize);
  const plan = {
    memory,
    fault,
    processBytes: memory === null ? null : memory.totalBytes + nodeBytes + recastBytes(input, planned),
    freeBytes,
    weightBytes: planned.ops.weightBytes,
    kvDtype,
    kvBytesPerToken: blockBytes / blockSize,
    kvNeeds: input.concurrencies.map((concurrency) =>
      kvNeed(input, memory, { concurrency, blockBytes, blockSize }),
    ),
    linears: classesOf(planned.linears),
    notes: planned.notes,
    loads: loadsOf(
      { recast: (form) => takenForm(form, dtype), activations, kvDtype, leastSeconds: 4 },
      input,
      input.concurrencies,
    ),
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
function recastBytes({ options, checkpoint }: ModelPlanInput, { linears }: PlannedModel): number {
  if (options.dtype === "auto") return 0;
  const stored = planModel(checkpoint, { dtype: "auto", activations: "auto" });
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
  model: TimedModel,
  { timer, inputTokens, outputTokens, options }: ModelPlanInput,
  concurrencies: readonly number[],
): PredictedLoad[] {
  const loads = concurrencies.map((concurrency) => ({ inputTokens, outputTokens, concurrency }));
  const steps = loads.map((load) => stepsOfLoad(options, load));
  const shapes = shapesOf(steps);
  const seconds = timer?.time(model, shapes) ?? null;
  if (seconds === null) return [];
  const secondsOf = new Map(shapes.map(({ label }, index) => [label, seconds[index]!]));
  return loads.map((load, index) => predictLoad(load, steps[index]!, secondsOf));
}

function planPrecisions(input: ModelPlanInput, kvDtype: KvDtype): PrecisionPlan[] {
  const { checkpoint, concurrencies } = input;
  const ends = [...new Set([concurrencies[0]!, concurrencies.at(-1)!])];
  return precisions.map(({ name, from, recast }) => {
    const { ops } = planModel(checkpoint, { dtype: "auto", activations: "auto", recast });
    const loads = loadsOf({ recast, activations: "auto", kvDtype, leastSeconds: 0.5 }, input, ends);
    return {
      name,
      from,
      weightBytes: ops.weightBytes,
      outputTokensPerSecond: loads.map((load) => load.outputTokensPerSecond),
    };
  });
}
