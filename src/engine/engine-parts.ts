import type { KvCache, KvHost, Ops } from "../kernels/ops.ts";
import type { CausalModel } from "../model/causal-model.ts";
import type { EngineInfo } from "../protocol/engine-client.ts";
import type { LoadedAdapters } from "./adapters/adapter-table.ts";
import type { AdmissionSettings } from "./admission-control.ts";
import type { EngineCounters } from "./engine-stats.ts";
import type { DraftModel } from "./speculation/draft-model-proposer.ts";
import type { VictimPolicyName } from "./victim-policy.ts";

/** What an engine is made of. */
export interface EngineParts {
  readonly ops: Ops;
  readonly model: CausalModel;
  readonly cache: KvCache;
  /** Where preempted sequences are kept; null for nowhere. */
  readonly host: KvHost | null;
  readonly info: EngineInfo;
  readonly longPrefillTokenThreshold: number;
  readonly admission: AdmissionSettings;
  readonly victims: VictimPolicyName;
  /** Null, the default, where none can be loaded. */
  readonly adapters?: LoadedAdapters | null;
  /** Whether a request may use what another computed. */
  readonly isPrefixCaching: boolean;
  /** Computes what the prefix cache knows anew and compares. */
  readonly isPrefixChecking: boolean;
  /** Guesses to make per step and sequence, by a smaller model or, without one, from the text so far; null for none. */
  readonly speculation: {
    readonly numTokens: number;
    /** See `SpeculationOptions`. */
    readonly isAdaptive: boolean;
    readonly draft: DraftModel | null;
  } | null;
  /** Seed of the seeds for requests that bring none; null = the system's random source. */
  readonly seed: number | null;
  /** Where the figures go; default an array of its own. */
  readonly counters?: EngineCounters;
}
