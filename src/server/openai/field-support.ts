import { MillraceError } from "../../base/errors.ts";
import { shorten } from "../served-model.ts";
import type { ServerContext } from "../server-context.ts";

type IsNeutral = (value: unknown) => boolean;

const never: IsNeutral = () => false;
const isOne: IsNeutral = (value) => value === 1;
const isFalse: IsNeutral = (value) => value === false;
const isTrue: IsNeutral = (value) => value === true;
const isEmpty: IsNeutral = (value) =>
  value === "" || (typeof value === "object" && value !== null && Object.keys(value).length === 0);
const isOneOf =
  (...values: readonly unknown[]): IsNeutral =>
  (value) =>
    values.includes(value);
const isTextOnly: IsNeutral = (value) => Array.isArray(value) && value.every((item) => item === "text");

/** Fields that other servers act on and this one does not: only the value that changes nothing is taken. */
const unsupported: ReadonlyMap<string, IsNeutral> = new Map([
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
  ["reasoning_effort", never],
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

/** Fields without an effect on the answer. They are taken, also with `strict`, and listed in the warnings header. */
const withoutEffect: ReadonlySet<string> = new Set([
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

/** Most names that the header shows; a body may hold any number. */
const maxListed = 20;

/**
 * Refuses fields that ask for what this server cannot do, and unknown ones with `strict`. Returns the fields that
 * were taken without effect. Errors: `invalid_request` naming the field.
 */
export function checkFields(
  body: Readonly<Record<string, unknown>>,
  known: Readonly<Record<string, unknown>>,
  context: ServerContext,
): string[] {
  const ignored: string[] = [];
  for (const [name, value] of Object.entries(body)) {
    if (Object.hasOwn(known, name)) continue;
    const isNeutral = unsupported.get(name);
    if (isNeutral !== undefined) {
      if (value !== null && !isNeutral(value)) throw unsupportedField(name, value);
    } else {
      if (context.isStrict && !withoutEffect.has(name)) throw unknownField(name);
      ignored.push(name);
    }
  }
  return ignored;
}

function unsupportedField(name: string, value: unknown): MillraceError {
  const seen = shorten(JSON.stringify(value));
  return new MillraceError(
    "invalid_request",
    `The field ${name} (here ${seen}) is not supported by this server. Leave it out or set it to its default.`,
    { param: name },
  );
}

function unknownField(name: string): MillraceError {
  const shown = shorten(name);
  return new MillraceError(
    "invalid_request",
    `The field ${JSON.stringify(shown)} is not known here, and the server runs with --strict. Leave it out.`,
    { param: shown },
  );
}

/** The value of `x-millrace-warnings`; undefined when there is nothing to say. Names are made safe for a header. */
export function warningsHeader(ignored: readonly string[]): string | undefined {
  if (ignored.length === 0) return undefined;
  const shown = ignored.slice(0, maxListed).map((name) => shorten(name, 40).replaceAll(/[^\w.-]/g, "?"));
  const more = ignored.length > maxListed ? ` and ${ignored.length - maxListed} more` : "";
  return `ignored fields: ${shown.join(", ")}${more}`;
}
