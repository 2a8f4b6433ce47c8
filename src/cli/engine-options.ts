import { MillraceError } from "../base/errors.ts";
import type { adapterSettings } from "../config/adapter-settings.ts";
import type { Values } from "../config/component.ts";
import type { EngineSettings } from "../config/engine-settings.ts";
import { checkEngineOptions } from "../engine/check-options.ts";
import type { AdapterOptions, EngineOptions, SpeculationOptions } from "../engine/engine-options.ts";
import { defaultVictims } from "../engine/victim-policy.ts";

/** Errors: those of `checkEngineOptions`, and `invalid_option` for flags of speculation that do not go together. */
export function engineOptionsOf(modelPath: string, settings: EngineSettings): EngineOptions {
  const options: EngineOptions = {
    modelPath,
    dtype: settings.dtype,
    activations: settings.activations,
    backend: settings.backend,
    isa: settings.isa,
    attentionDtype: settings.attentionDtype,
    numThreads: settings.threads,
    maxModelLen: settings.maxModelLen ?? null,
    maxNumSeqs: settings.maxNumSeqs,
    maxNumBatchedTokens: settings.maxNumBatchedTokens,
    longPrefillTokenThreshold: settings.longPrefillTokenThreshold,
    kvCacheDtype: settings.kvCacheDtype,
    kvCacheMemoryBytes: settings.kvCacheMemory ?? null,
    memoryUtilization: settings.memoryUtilization ?? null,
    swapSpaceBytes: settings.swapSpace ?? 0,
    maxNumQueuedRequests: settings.maxNumQueuedReqs,
    maxNumQueuedTokens: settings.maxNumQueuedTokens ?? 0,
    maxNumQueuedRequestsPerTenant: settings.maxNumQueuedReqsPerTenant ?? 0,
    schedulingPolicy: settings.schedulingPolicy,
    tenantWeights: settings.tenantWeight ?? new Map<string, number>(),
    preemptionVictim: settings.preemptionVictim ?? defaultVictims(settings.schedulingPolicy),
    enablePrefixCaching: settings.enablePrefixCaching === "on",
    checkPrefixCache: settings.checkPrefixCache,
    blockSize: settings.blockSize,
    speculation: speculationOf(settings),
    seed: settings.seed,
  };
  checkEngineOptions(options);
  return options;
}

/** Null where neither adapters nor room for them are asked for. Errors: `invalid_option` for a name that is given twice. */
export function adapterOptionsOf(settings: Values<typeof adapterSettings>): AdapterOptions | null {
  const { enableLora, loraModules: initial, maxLoraRank: maxRank, maxCpuLoras: maxNumAdapters } = settings;
  if (!enableLora && initial.length === 0) return null;
  const names = new Set(initial.map(({ name }) => name));
  if (names.size === initial.length && names.size <= maxNumAdapters)
    return { initial, maxRank, maxNumAdapters };
  const fault =
    names.size < initial.length
      ? "--lora-modules gives one name to two adapters; each needs its own. Change one."
      : `--lora-modules has ${names.size} adapters and --max-cpu-loras allows ${maxNumAdapters}. Raise it.`;
  throw new MillraceError("invalid_option", fault, { param: "--lora-modules" });
}

/** Most guesses per sequence and step where nobody says a number. */
const defaultSpecTokens = 4;

function speculationOf(settings: EngineSettings): SpeculationOptions | null {
  const { specMethod: method, specModel, specTokens } = settings;
  if ((method === "draft") !== (specModel !== undefined)) {
    throw new MillraceError(
      "invalid_option",
      `--spec-method is ${method ?? "not given"} and --spec-model is ${specModel ?? "not given"}; draft takes a model and ` +
        "nothing else does. Give --spec-method draft --spec-model PATH, or leave out --spec-model.",
      { param: "--spec-model" },
    );
  }
  if (method === undefined && specTokens !== undefined) {
    throw new MillraceError(
      "invalid_option",
      `--spec-tokens is ${specTokens}, but without --spec-method nothing is guessed. Give --spec-method ngram or draft, or ` +
        "leave --spec-tokens out.",
      { param: "--spec-tokens" },
    );
  }
  return method === undefined
    ? null
    : { numTokens: specTokens ?? defaultSpecTokens, draftPath: specModel ?? null };
}
