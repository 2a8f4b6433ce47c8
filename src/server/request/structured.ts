import { nearestName } from "../../base/nearest-name.ts";
import { anyObject, type GrammarSpec, type JsonSchema } from "../../grammar/grammar-spec.ts";
import type { TokenGrammar } from "../../protocol/token-mask-channel.ts";
import { type ServedModel, shorten } from "../served-model.ts";
import { demand, invalidField } from "./field-errors.ts";
import type { SamplingBody } from "./schemas.ts";

/** A grammar, and the field that asks for it. */
export interface Asked {
  readonly spec: GrammarSpec;
  readonly param: string;
}

/**
 * The grammar that a request's answers have to follow; undefined where it asks for none. Errors: `invalid_request`
 * naming the field for a grammar that is wrong or not supported, and for two of them.
 *
 * @param forced by a dialect's own fields
 */
export async function readGrammar(
  body: SamplingBody,
  model: ServedModel,
  forced: Asked | null,
): Promise<TokenGrammar | undefined> {
  const format = readResponseFormat(body.response_format);
  const own = readStructuredOutputs(body.structured_outputs);
  const asked = forced ?? format ?? own;
  const isOneLine = body.structured_outputs?.["disable_any_whitespace"] === true;
  if (asked === null) return undefined;
  const other = format === null ? "structured_outputs" : "response_format";
  const isOne = forced === null || (format === null && own === null);
  demand(isOne, other, body[other], `left out beside ${forced?.param}`);
  demand(
    format === null || own === null,
    "structured_outputs",
    body.structured_outputs,
    "left out beside response_format",
  );
  demand(
    body.allowed_token_ids === null || body.allowed_token_ids === undefined,
    "allowed_token_ids",
    body.allowed_token_ids,
    `left out beside ${asked.param}`,
  );
  demand(
    body.ignore_eos !== true,
    "ignore_eos",
    true,
    `false beside ${asked.param}, which says where the answer ends`,
  );
  if (model.grammars === null)
    throw invalidField(asked.param, "set", "left out: this server keeps no grammars");
  const { spec } = asked;
  const laidOut = spec.kind === "json-schema" && isOneLine ? { ...spec, layout: "one-line" as const } : spec;
  return model.grammars.prepare(laidOut, asked.param);
}

function readResponseFormat(format: SamplingBody["response_format"]): Asked | null {
  if (format === null || format === undefined || format.type === "text") return null;
  if (format.type === "json_object") {
    return { spec: { kind: "json-schema", schema: anyObject }, param: "response_format" };
  }
  const param = "response_format.json_schema.schema";
  const schema = format.json_schema?.schema;
  demand(schema !== undefined && schema !== null, param, schema, "a JSON schema");
  return { spec: { kind: "json-schema", schema: schema as JsonSchema }, param };
}

function readStructuredOutputs(body: SamplingBody["structured_outputs"]): Asked | null {
  checkNames(body ?? {});
  const given = Object.entries(body ?? {}).filter(([name, value]) => isGrammarField(name) && isSet(value));
  if (given.length === 0) return null;
  const names = given.map(([name]) => name);
  demand(
    names.length === 1,
    "structured_outputs",
    names,
    "an object with one of json, regex, choice, grammar and json_object",
  );
  const [name, value] = given[0]!;
  const param = `structured_outputs.${name}`;
  return { spec: specOf(name, value, param), param };
}

const grammarFields: readonly string[] = ["json", "regex", "choice", "grammar", "json_object"];
const knownFields: readonly string[] = [...grammarFields, "disable_any_whitespace"];
const isGrammarField = (name: string): boolean => grammarFields.includes(name);
const isSet = (value: unknown): boolean => value !== null && value !== undefined && value !== false;

/**
 * Refuses what would be left out in silence: a form that is misspelt, or one that only other servers know. vLLM's
 * `disable_fallback` says what is so anyway.
 */
function checkNames(body: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(body)) {
    const param = `structured_outputs.${shorten(name)}`;
    if (name === "disable_any_whitespace") {
      demand(value === null || typeof value === "boolean", param, value, "true or false");
    } else if (!knownFields.includes(name) && name !== "disable_fallback" && isSet(value)) {
      const nearest = nearestName(name, knownFields);
      const meant = nearest === undefined ? "" : `; ${nearest} may be meant`;
      throw invalidField(param, value, `left out: known are ${knownFields.join(", ")}${meant}`);
    }
  }
}

function specOf(name: string, value: unknown, param: string): GrammarSpec {
  if (name === "json_object") return { kind: "json-schema", schema: anyObject };
  if (name === "json") return { kind: "json-schema", schema: readSchema(value, param) };
  if (name === "choice") {
    const isList =
      Array.isArray(value) &&
      value.length > 0 &&
      value.every((item) => typeof item === "string" && item !== "");
    demand(isList, param, value, "a list of texts that are not empty");
    return { kind: "choice", choices: value as string[] };
  }
  demand(typeof value === "string" && value !== "", param, value, "a text that is not empty");
  return name === "regex"
    ? { kind: "regex", pattern: value as string }
    : { kind: "ebnf", grammar: value as string };
}

/** vLLM takes a schema as an object or as its JSON text. */
function readSchema(value: unknown, param: string): JsonSchema {
  if (typeof value !== "string") return value as JsonSchema;
  try {
    return JSON.parse(value) as JsonSchema;
  } catch {
    throw invalidField(param, value, "a JSON schema, as an object or as JSON text");
  }
}
