import { MillraceError } from "../../base/errors.ts";
import { fixedLength, type LengthRange } from "./length-range.ts";

/** What GuideLLM's `--data` says of synthetic prompts. */
export interface SyntheticData {
  readonly input: LengthRange;
  readonly output: LengthRange;
  readonly turns: number;
  readonly sharedPrefix: { readonly tokens: number; readonly count: number } | null;
}

const param = "--data";
const lengthKeys = ["prompt_tokens", "output_tokens"].flatMap((name) =>
  ["", "_stdev", "_min", "_max"].map((end) => name + end),
);
const keys = new Set([...lengthKeys, "turns", "prefix_tokens", "prefix_count"]);
/** GuideLLM 0.8 wants it said. */
const kind = "synthetic_text";

/** Whether a value of `--data` describes synthetic prompts; else it names a file. */
export function isSyntheticData(text: string): boolean {
  return text.trimStart().startsWith("{") || /^\s*\w+=/.test(text);
}

/**
 * Reads `prompt_tokens=512,output_tokens=128`, or the same as a JSON object, with GuideLLM's names: beside the two
 * `_stdev`, `_min` and `_max`, and `turns`, `prefix_tokens`, `prefix_count`; `kind=synthetic_text` may stand there too.
 *
 * Errors: `invalid_option`.
 */
export function parseDataSpec(text: string): SyntheticData {
  const values = valuesOf(text);
  const [turns = 1, prefixTokens = 0, prefixCount] = ["turns", "prefix_tokens", "prefix_count"].map((key) =>
    values.get(key),
  );
  if (prefixCount !== undefined && prefixTokens === 0)
    throw wrong(`has prefix_count ${prefixCount} and no prefix_tokens`, "the two go together");
  return {
    input: rangeOf("prompt_tokens", values),
    output: rangeOf("output_tokens", values),
    turns,
    sharedPrefix: prefixTokens === 0 ? null : { tokens: prefixTokens, count: prefixCount ?? 1 },
  };
}

function valuesOf(text: string): Map<string, number> {
  const isJson = text.trimStart().startsWith("{");
  const pairs = isJson
    ? Object.entries(parseJson(text))
    : text.split(",").map((part): [string, unknown] => {
        const [key, ...value] = part.split("=");
        return [key!.trim(), value.join("=").trim()];
      });
  const other = pairs.find(([key, value]) => key === "kind" && value !== kind);
  if (other !== undefined)
    throw wrong(`says kind is ${JSON.stringify(other[1])}`, `it takes ${kind}, or a file`);
  return new Map(
    pairs.flatMap(([key, value]): [string, number][] => {
      if (key === "kind") return [];
      if (!keys.has(key)) throw wrong(`has the key "${key}"`, `it takes ${[...keys].join(", ")}`);
      const count = typeof value === "string" && value !== "" ? Number(value) : value;
      const least = leastOf(key);
      if (typeof count === "number" && Number.isInteger(count) && count >= least) return [[key, count]];
      throw wrong(`says ${key} is ${JSON.stringify(value)}`, `it takes a whole number of at least ${least}`);
    }),
  );
}

function leastOf(key: string): number {
  return ["prompt_tokens", "output_tokens", "turns", "prefix_count"].includes(key) ? 1 : 0;
}

function parseJson(text: string): Record<string, unknown> {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch (cause) {
    throw wrong(
      "is no JSON object",
      'it takes one such as {"prompt_tokens": 512, "output_tokens": 128}',
      cause,
    );
  }
}

/** Ends that are not given lie five standard deviations off, as GuideLLM has it. */
function rangeOf(name: string, values: ReadonlyMap<string, number>): LengthRange {
  const mean = values.get(name);
  if (mean === undefined) {
    throw wrong(
      `does not say ${name}`,
      "it takes prompt_tokens and output_tokens, such as prompt_tokens=512,output_tokens=128",
    );
  }
  const stdev = values.get(`${name}_stdev`) ?? 0;
  const min = values.get(`${name}_min`) ?? Math.max(1, mean - 5 * stdev);
  const max = values.get(`${name}_max`) ?? mean + 5 * stdev;
  if (min > max)
    throw wrong(`has ${name}_min ${min} above ${name}_max ${max}`, "it takes a least below a most");
  return min === max ? fixedLength(min) : { mean, stdev, min: Math.max(1, min), max };
}

function wrong(seen: string, allowed: string, cause?: unknown): MillraceError {
  return new MillraceError("invalid_option", `${param} ${seen}; ${allowed}. Correct it.`, { param, cause });
}
