import { MillraceError } from "../../base/errors.ts";
import { nearestName } from "../../base/nearest-name.ts";
import type { HttpContext } from "../http-context.ts";
import { shorten } from "../served-model.ts";

type IsNeutral = (value: unknown) => boolean;

export const never: IsNeutral = () => false;
export const isOne: IsNeutral = (value) => value === 1;
export const isFalse: IsNeutral = (value) => value === false;
const isTrue: IsNeutral = (value) => value === true;
export const isEmpty: IsNeutral = (value) =>
  value === "" || (typeof value === "object" && value !== null && Object.keys(value).length === 0);
export const isOneOf =
  (...values: readonly unknown[]): IsNeutral =>
  (value) =>
    values.includes(value);
const isTextOnly: IsNeutral = (value) => Array.isArray(value) && value.every((item) => item === "text");

/** How a dialect's fields that its schema does not know are met. Unknown ones are in neither. */
export interface FieldSupport {
  /** What other servers act on and this one does not: only the value that changes nothing is taken. */
  readonly refused: ReadonlyMap<string, IsNeutral>;
  /** Without an effect on the answer: taken, also with `strict`, and listed in the warnings header. */
  readonly ignored: ReadonlySet<string>;
}

const refusedByOpenAi: ReadonlyMap<string, IsNeutral> = new Map([
  ["length_penalty", isOne],
  ["use_beam_search", isFalse],
  ["best_of", isOne],
  ["suffix", isEmpty],
  ["prompt_embeds", never],
  ["truncate_prompt_tokens", never],
  ["truncation_side", never],
  ["logprob_token_ids", isEmpty],
  ["tools", isEmpty],
  ["tool_choice", isOneOf("none", "auto")],
  ["functions", isEmpty],
  ["function_call", isOneOf("none", "auto")],
  ["guided_json", never],
  ["guided_regex", never],
  ["guided_choice", never],
  ["guided_grammar", never],
  ["documents", isEmpty],
  ["chat_template", never],
  ["thinking_token_budget", never],
  ["repetition_detection", never],
  ["kv_transfer_params", never],
  ["vllm_xargs", isEmpty],
  ["modalities", isTextOnly],
  ["audio", never],
  ["prediction", never],
  ["web_search_options", never],
  ["spaces_between_special_tokens", isTrue],
  ["return_tokens_as_token_ids", isFalse],
  ["echo", isFalse],
]);

const ignoredByOpenAi: ReadonlySet<string> = new Set([
  "safety_identifier",
  "prompt_cache_key",
  "prompt_cache_retention",
  "metadata",
  "service_tier",
  "store",
  "request_id",
  "session_id",
  "stream_interval",
]);

export const openAiFields: FieldSupport = { refused: refusedByOpenAi, ignored: ignoredByOpenAi };

/** Where the same can be asked for. */
const replacements: ReadonlyMap<string, string> = new Map([
  ["guided_json", "structured_outputs.json"],
  ["guided_regex", "structured_outputs.regex"],
  ["guided_choice", "structured_outputs.choice"],
  ["guided_grammar", "structured_outputs.grammar"],
  ["functions", "tools"],
  ["function_call", "tool_choice"],
]);

/** Most names that the header shows; a body may hold any number. */
const maxListed = 20;

/** A field that was taken without effect, and the known one that it may stand for. */
export interface IgnoredField {
  readonly name: string;
  readonly nearest?: string | undefined;
}

/**
 * Refuses fields that ask for what this server cannot do, and unknown ones with `strict`. Returns the fields that
 * were taken without effect, each with the known one that may be meant. Errors: `invalid_request` naming the field.
 */
export function checkFields(
  body: Readonly<Record<string, unknown>>,
  known: Readonly<Record<string, unknown>>,
  isStrict: boolean,
  support: FieldSupport,
): IgnoredField[] {
  const ignored: IgnoredField[] = [];
  for (const [name, value] of Object.entries(body)) {
    if (Object.hasOwn(known, name)) continue;
    const isNeutral = support.refused.get(name);
    if (isNeutral !== undefined) {
      if (value !== null && !isNeutral(value)) throw unsupportedField(name, value, known);
    } else if (support.ignored.has(name)) {
      ignored.push({ name });
    } else {
      // A body may hold a million of them; no more are told.
      const nearest = ignored.length < maxListed ? nearestName(name, Object.keys(known)) : undefined;
      if (isStrict) throw unknownField(name, nearest);
      ignored.push({ name, nearest });
    }
  }
  return ignored;
}

function unsupportedField(
  name: string,
  value: unknown,
  known: Readonly<Record<string, unknown>>,
): MillraceError {
  const seen = shorten(JSON.stringify(value));
  const other = replacements.get(name);
  const hasOther = other !== undefined && Object.hasOwn(known, other.replace(/\..*/, ""));
  const advice = hasOther ? `Use ${other} in its place.` : "Leave it out or set it to its default.";
  return new MillraceError(
    "invalid_request",
    `The field ${name} (here ${seen}) is not supported by this server. ${advice}`,
    { param: name },
  );
}

function unknownField(name: string, nearest: string | undefined): MillraceError {
  const shown = shorten(name);
  const advice =
    nearest === undefined ? "Leave it out." : `Leave it out, or correct it if ${nearest} is meant.`;
  return new MillraceError(
    "invalid_request",
    `The field ${JSON.stringify(shown)} is not known here, and the server runs with --strict. ${advice}`,
    { param: shown },
  );
}

const headerName = "x-millrace-warnings";

/** Lists fields that were taken without effect in the answer's warnings header. */
export function noteIgnored(c: HttpContext, ...fields: readonly IgnoredField[]): void {
  const headers = c.get("headers");
  const warnings = warningsHeader(fields);
  if (warnings === undefined) return;
  const before = headers[headerName];
  headers[headerName] = before === undefined ? warnings : `${before}; ${warnings}`;
}

/** The value of `x-millrace-warnings`; undefined when there is nothing to say. Names are made safe for a header. */
function warningsHeader(ignored: readonly IgnoredField[]): string | undefined {
  if (ignored.length === 0) return undefined;
  const shown = ignored.slice(0, maxListed).map(({ name, nearest }) => {
    const safe = shorten(name, 40).replaceAll(/[^\w.-]/g, "?");
    return nearest === undefined ? safe : `${safe} (${nearest}?)`;
  });
  const more = ignored.length > maxListed ? ` and ${ignored.length - maxListed} more` : "";
  return `ignored fields: ${shown.join(", ")}${more}`;
}
