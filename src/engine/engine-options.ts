import type { AttentionDtype } from "../kernels/ops.ts";
import type { PrecisionOptions } from "../model/causal-model.ts";
import type { AdapterSource } from "../protocol/engine-client.ts";
import type { AdapterLimits } from "./adapters/adapter-table.ts";
import type { EngineCounters } from "./engine-stats.ts";
import type { SchedulingPolicyName } from "./scheduling-policy.ts";
import type { VictimPolicyName } from "./victim-policy.ts";

export interface SpeculationOptions {
  /** Most guesses per sequence and step. */
  readonly numTokens: number;
  readonly draftPath: string | null;
  /** Fewer guesses, or none, where they do not pay; default true. False is for tests and measurements. */
  readonly isAdaptive?: boolean;
}

export interface AdapterOptions extends AdapterLimits {
  readonly initial: readonly AdapterSource[];
}

/** Everything that starts an engine; plain data, so that it can cross to the engine's thread. */
export interface EngineOptions extends PrecisionOptions {
  /** A model folder or a GGUF file. */
  readonly modelPath: string;
  /** `auto`: f16, or f32 when all activations are f32. */
  readonly kvCacheDtype: "auto" | "f32" | "f16" | "bf16" | "int8";
  /** Longest context; null: the model's own, as far as the default KV cache allows; `auto`: as far as memory allows. */
  readonly maxModelLen: number | "auto" | null;
  /** Most sequences in one step. */
  readonly maxNumSeqs: number;
  /** Most tokens in one step. */
  readonly maxNumBatchedTokens: number;
  /** Most tokens of one prompt in one step; 0 for no limit of its own. */
  readonly longPrefillTokenThreshold: number;
  /** Bytes for the KV cache; null: chosen from the free memory. */
  readonly kvCacheMemoryBytes: number | null;
  /** Share of the free memory, 0 to 1, that the engine takes and its KV cache fills; not beside the bytes above. */
  readonly memoryUtilization?: number | null;
  /** Bytes of the host tier, where preempted sequences wait; default 0, none. */
  readonly swapSpaceBytes?: number;
  /** Kernel threads; 0 = physical cores inside affinity and quota. */
  readonly numThreads: number;
  readonly backend: "auto" | "native" | "reference";
  /** Instruction set to force, or `auto`. */
  readonly isa: string;
  /** Operands of the products of attention; default `auto`. */
  readonly attentionDtype?: AttentionDtype | "auto";
  /** Seed of the seeds for requests that bring none; null = the system's random source. */
  readonly seed: number | null;
  /** Most waiting requests; more are refused. */
  readonly maxNumQueuedRequests: number;
  /** Most prompt tokens that wait; default 0, no cap. */
  readonly maxNumQueuedTokens?: number;
  /** Most waiting requests of one tenant; default 0, no cap. */
  readonly maxNumQueuedRequestsPerTenant?: number;
  /** Order in which requests start; default `fcfs`. */
  readonly schedulingPolicy?: SchedulingPolicyName;
  /** Shares of tenants under `fair`, where not 1. */
  readonly tenantWeights?: ReadonlyMap<string, number>;
  /** Who gives way when no KV block is free; default `priority` under that policy, else `lifo`. */
  readonly preemptionVictim?: VictimPolicyName;
  /** Whether a request uses what another computed for the same tokens; default true. */
  readonly enablePrefixCaching?: boolean;
  /** Computes what the prefix cache knows anew and compares; default false. */
  readonly checkPrefixCache?: boolean;
  /** Guesses to make and verify: by the model at `draftPath`, or from the text so far where it is null; default none. */
  readonly speculation?: SpeculationOptions | null;
  /** Adapters to load at the start, and room for others; default null, none can be loaded. */
  readonly adapters?: AdapterOptions | null;
  /** Tokens per KV block; default 32. */
  readonly blockSize?: number;
  /** Exact number of KV blocks, whatever the memory: to provoke preemption in tests. */
  readonly numKvBlocks?: number;
}

/** Options for a model with everything else at its default. */
export function defaultEngineOptions(modelPath: string): EngineOptions {
  return {
    modelPath,
    dtype: "auto",
    activations: "auto",
    kvCacheDtype: "auto",
    maxModelLen: null,
    maxNumSeqs: 128,
    maxNumBatchedTokens: 512,
    longPrefillTokenThreshold: 0,
    kvCacheMemoryBytes: null,
    numThreads: 0,
    backend: "auto",
    isa: "auto",
    seed: null,
    maxNumQueuedRequests: 4096,
  };
}

/** What the owner of an engine sees while it loads. */
export interface LoadWatch {
  /** The engine's figures, where somebody else reads them. */
  readonly counters?: EngineCounters;
  /** Gets the memory plan, line by line for people, before any of it is taken. */
  readonly onPlan?: (lines: readonly string[]) => void;
}
