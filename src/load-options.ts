import { inspect } from "node:util";
import { z } from "zod";
import { MillraceError } from "./base/errors.ts";
import { shown } from "./base/shown.ts";
import { adapterSettings } from "./config/adapter-settings.ts";
import { type Field, flagName } from "./config/component.ts";
import { engineSettings as settings, sourceSettings } from "./config/engine-settings.ts";
import { weightMap } from "./config/value-schemas.ts";
import type { EngineOptions } from "./engine/engine-options.ts";

/** What `Engine.load` takes besides the model; everything has a default, see `defaultEngineOptions`. */
export interface LoadOptions extends Partial<Omit<EngineOptions, "modelPath">> {
  /** A folder, a tokenizer.json or a GGUF file to take the tokenizer from; default: the model itself. */
  readonly tokenizerPath?: string;
}

/** An option, and the flag of the command line that sets the same. */
interface OptionRule {
  readonly schema: z.ZodType;
  readonly flag: string | null;
}

/** An option that takes what its flag takes. Numbers must be numbers: the flag's own schema reads text too. */
function as(setting: Field): OptionRule {
  return { schema: setting.schema, flag: flagName(setting.flag) };
}

/** @param others values beside the flag's numbers, such as null for none */
function asNumber(setting: Field, ...others: readonly unknown[]): OptionRule {
  const schema = z.unknown().superRefine((value, context) => {
    if (others.includes(value)) return;
    const parsed = setting.schema.safeParse(typeof value === "number" ? value : Number.NaN);
    const issue = parsed.error?.issues[0];
    if (issue === undefined) return;
    const message = [issue.message, ...others.map((other) => inspect(other))].join(" or ");
    context.addIssue({ code: "custom", message });
  });
  return { schema, flag: flagName(setting.flag) };
}

/** @param allowed completes "it takes …" */
function asOwn(setting: Field | null, allowed: string, isAllowed: (value: unknown) => boolean): OptionRule {
  return {
    schema: z.custom(isAllowed, `it takes ${allowed}`),
    flag: setting === null ? null : flagName(setting.flag),
  };
}

const isText = (value: unknown): boolean => typeof value === "string" && value !== "";
const isBoolean = (value: unknown): boolean => typeof value === "boolean";
const isCount = (value: unknown, least: number): boolean =>
  Number.isSafeInteger(value) && Number(value) >= least;

/** One rule per option: what is no range of its flag is a matter of types only. */
const rules: Readonly<Record<keyof LoadOptions, OptionRule>> = {
  tokenizerPath: asOwn(sourceSettings.tokenizer, "a path", isText),
  dtype: as(settings.dtype),
  activations: as(settings.activations),
  backend: as(settings.backend),
  isa: as(settings.isa),
  attentionDtype: as(settings.attentionDtype),
  numThreads: asNumber(settings.threads),
  maxModelLen: asOwn(
    settings.maxModelLen,
    "a number of tokens, 'auto' or null",
    (value) => value === null || value === "auto" || isCount(value, 1),
  ),
  maxNumSeqs: asNumber(settings.maxNumSeqs),
  maxNumBatchedTokens: asNumber(settings.maxNumBatchedTokens),
  longPrefillTokenThreshold: asNumber(settings.longPrefillTokenThreshold),
  kvCacheDtype: as(settings.kvCacheDtype),
  kvCacheMemoryBytes: asOwn(
    settings.kvCacheMemory,
    "a whole number of bytes above 0, or null",
    (value) => value === null || isCount(value, 1),
  ),
  memoryUtilization: asNumber(settings.memoryUtilization, null),
  swapSpaceBytes: asOwn(settings.swapSpace, "a whole number of bytes, 0 for none", (value) =>
    isCount(value, 0),
  ),
  maxNumQueuedRequests: asNumber(settings.maxNumQueuedReqs),
  maxNumQueuedTokens: asNumber(settings.maxNumQueuedTokens, 0),
  maxNumQueuedRequestsPerTenant: asNumber(settings.maxNumQueuedReqsPerTenant, 0),
  schedulingPolicy: as(settings.schedulingPolicy),
  tenantWeights: { schema: weightMap, flag: flagName(settings.tenantWeight.flag) },
  preemptionVictim: as(settings.preemptionVictim),
  enablePrefixCaching: asOwn(settings.enablePrefixCaching, "true or false", isBoolean),
  checkPrefixCache: asOwn(settings.checkPrefixCache, "true or false", isBoolean),
  blockSize: asNumber(settings.blockSize),
  numKvBlocks: asOwn(null, "a whole number of at least 1", (value) => isCount(value, 1)),
  speculation: asOwn(
    settings.specMethod,
    "null or an object with numTokens, draftPath (a path or null) and perhaps isAdaptive",
    isSpeculation,
  ),
  adapters: asOwn(
    adapterSettings.loraModules,
    "null or an object with maxRank, maxNumAdapters and initial, a list of { name, path }",
    isAdapters,
  ),
  seed: asNumber(settings.seed, null),
};

function isAdapters(value: unknown): boolean {
  if (value === null) return true;
  const source = z.strictObject({ name: z.string().min(1), path: z.string().min(1) });
  const count = z.int().min(1);
  return z.strictObject({ maxRank: count, maxNumAdapters: count, initial: z.array(source) }).safeParse(value)
    .success;
}

/** Its numbers have a rule of their own, see `checkEngineOptions`. */
function isSpeculation(value: unknown): boolean {
  if (value === null) return true;
  return z
    .strictObject({
      numTokens: z.number(),
      draftPath: z.string().min(1).nullable(),
      isAdaptive: z.boolean().optional(),
    })
    .safeParse(value).success;
}

/**
 * The options that are given, each in its range, which is that of its flag. Errors: `invalid_option` naming the option,
 * the value seen and what is allowed; also for a name that is not known.
 */
export function checkLoadOptions(options: LoadOptions): LoadOptions {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  for (const [name, value] of given) {
    if (!Object.hasOwn(rules, name)) {
      const known = Object.keys(rules).join(", ");
      throw invalid(name, `There is no option ${name}. Engine.load takes ${known}.`);
    }
    const parsed = rules[name as keyof LoadOptions].schema.safeParse(value);
    if (parsed.success) continue;
    throw invalid(
      name,
      `${name} is ${shown(value)}; ${parsed.error.issues[0]!.message}. Change it or leave it out.`,
    );
  }
  return Object.fromEntries(given);
}

/** The option that each flag sets, in whole or in part. */
export const optionByFlag: ReadonlyMap<string, string> = new Map([
  ...Object.entries(rules).flatMap(([name, { flag }]): [string, string][] =>
    flag === null ? [] : [[flag, name]],
  ),
  [flagName(adapterSettings.maxLoraRank.flag), "adapters.maxRank"],
  [flagName(adapterSettings.maxCpuLoras.flag), "adapters.maxNumAdapters"],
  [flagName(settings.specTokens.flag), "speculation.numTokens"],
  [flagName(settings.specModel.flag), "speculation.draftPath"],
]);

function invalid(param: string, message: string): MillraceError {
  return new MillraceError("invalid_option", message, { param });
}
