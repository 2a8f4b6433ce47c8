import { MillraceError } from "../base/errors.ts";
import { isJsonObject, type JsonObject } from "./json-file.ts";

/** What `adapter_config.json` says of an adapter's modules. */
export interface PeftConfig {
  /** Rank of a module's matrices. */
  rank(module: string): number;
  /** What the product of a module's matrices is multiplied by. */
  scale(module: string): number;
}

type Allowed = (value: unknown) => boolean;

const isNothing: Allowed = (value) =>
  value === undefined ||
  value === null ||
  value === false ||
  (Array.isArray(value) && value.length === 0) ||
  (isJsonObject(value) && Object.keys(value).length === 0);

/** Keys of PEFT that change what an adapter computes, and the values that leave it plain low-rank matrices. */
const refusals: readonly (readonly [key: string, isAllowed: Allowed, allowed: string])[] = [
  ["peft_type", (value) => value === "LORA", "LORA"],
  ["bias", (value) => isNothing(value) || value === "none", "none"],
  ["use_dora", isNothing, "false"],
  ["use_qalora", isNothing, "false"],
  ["lora_bias", isNothing, "false"],
  ["fan_in_fan_out", isNothing, "false"],
  ["modules_to_save", isNothing, "null"],
  ["layer_replication", isNothing, "null"],
  ["trainable_token_indices", isNothing, "null"],
  ["target_parameters", isNothing, "null"],
  ["alora_invocation_tokens", isNothing, "null"],
];

/** Largest rank that is believed; vLLM serves up to 512. */
const maxRank = 4096;

/**
 * Reads the configuration of a LoRA adapter (PEFT 0.7 to 0.18). Errors: `unsupported_adapter` for another kind of
 * adapter, `invalid_adapter` for values that make no sense.
 *
 * @param file named in errors
 */
export function readPeftConfig(json: JsonObject, file: string): PeftConfig {
  for (const [key, isAllowed, allowed] of refusals) {
    if (isAllowed(json[key])) continue;
    throw new MillraceError(
      "unsupported_adapter",
      `${file} has ${key} = ${shown(json[key])}; LoRA adapters with ${key} = ${allowed} run here. Train it so, or merge it into the weights.`,
    );
  }
  const isRank = (value: unknown): value is number =>
    Number.isInteger(value) && (value as number) >= 1 && (value as number) <= maxRank;
  const isAlpha = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value);
  const rank = readNumber(json, file, "r", isRank, `a whole number from 1 to ${maxRank}`);
  const alpha = readNumber(json, file, "lora_alpha", isAlpha, "a number");
  const ranks = readPattern(json, file, "rank_pattern", isRank);
  const alphas = readPattern(json, file, "alpha_pattern", isAlpha);
  const usesRoot = json["use_rslora"] === true;
  const rankOf = (module: string): number => matchOf(ranks, module) ?? rank;
  return {
    rank: rankOf,
    scale: (module) => {
      const own = rankOf(module);
      return (matchOf(alphas, module) ?? alpha) / (usesRoot ? Math.sqrt(own) : own);
    },
  };
}

type Pattern = readonly (readonly [suffix: string, value: number])[];

function readNumber(
  json: JsonObject,
  file: string,
  key: string,
  isValid: (value: unknown) => value is number,
  allowed: string,
): number {
  const value = json[key];
  if (isValid(value)) return value;
  throw invalid(file, key, value, allowed);
}

/** Numbers for modules whose name ends so. PEFT reads the keys as regular expressions; plain names are taken here. */
function readPattern(
  json: JsonObject,
  file: string,
  key: string,
  isValid: (value: unknown) => value is number,
): Pattern {
  const value = json[key] ?? {};
  if (!isJsonObject(value)) throw invalid(file, key, value, "an object");
  return Object.entries(value).map(([name, own]) => {
    if (!isValid(own)) throw invalid(file, `${key}.${name}`, own, "a number in range");
    if (/^[\w.]+$/.test(name)) return [name, own];
    throw new MillraceError(
      "unsupported_adapter",
      `${file} has the key ${shown(name)} in ${key}; names of modules or their ends are taken here, no other patterns. Write the names out.`,
    );
  });
}

/** The first that matches, as in PEFT. */
function matchOf(pattern: Pattern, module: string): number | undefined {
  return pattern.find(([name]) => module === name || module.endsWith(`.${name}`))?.[1];
}

function invalid(file: string, key: string, value: unknown, allowed: string): MillraceError {
  return new MillraceError(
    "invalid_adapter",
    `${file} has ${key} = ${shown(value)}; it must be ${allowed}. Correct it or fetch the adapter again.`,
  );
}

function shown(value: unknown): string {
  const text = value === undefined ? "nothing" : JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
