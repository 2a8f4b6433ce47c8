import { type JsonLayout, type JsonSchema, maxWhitespace } from "./grammar-spec.ts";
import { integerRange, type NumberBounds, numberRange, rangeRules } from "./number-range.ts";
import { quoteText, quoteTexts } from "./quote-text.ts";
import { patternGrammar } from "./schema-pattern.ts";

type Keywords = Readonly<Record<string, unknown>>;

/**
 * Rules that every grammar has. `\u` escapes leave surrogates out, so that a character is one code point, as lengths
 * count them.
 */
const basis = String.raw`
value ::= object | array | string | number | "true" | "false" | "null"
object ::= "{" ws ("}" | member ("," gap member)* ws "}")
member ::= string ":" gap value
array ::= "[" ws ("]" | value ("," gap value)* ws "]")
string ::= "\"" char* "\""
char ::= [^"\\\x00-\x1f] | "\\" (["\\/bfnrt] | "u" ([0-9a-cA-CefEF] hex{3} | [dD] [0-7] hex{2}))
hex ::= [0-9a-fA-F]
integer ::= "-"? ("0" | [1-9] [0-9]*)
number ::= integer fraction ([eE] [+-]? [0-9] [0-9]?)?
boolean ::= "true" | "false"
null ::= "null"
hour ::= [01] [0-9] | "2" [0-3]
sixty ::= [0-5] [0-9]
day28 ::= "0" [1-9] | "1" [0-9] | "2" [0-8]
day30 ::= "0" [1-9] | [12] [0-9] | "30"
day31 ::= "0" [1-9] | [12] [0-9] | "3" [01]
date ::= [0-9]{4} "-" ("0" ([13578] "-" day31 | [469] "-" day30 | "2-" day28) | "1" ([02] "-" day31 | "1-" day30))
time ::= hour ":" sixty ":" sixty ("." [0-9]{1,6})? ("Z" | [+-] hour ":" sixty)
${rangeRules}
octet ::= "0" | "1" [0-9]{0,2} | [3-9] [0-9]? | "2" ("" | [0-4] [0-9]? | "5" [0-5]? | [6-9])
`;

const anySpace = String.raw`[ \n\t]{0,${maxWhitespace}}`;

/** White space beside brackets, and after commas and colons. */
const layouts: Readonly<Record<JsonLayout, string>> = {
  free: `\nws ::= ${anySpace}\ngap ::= ${anySpace}`,
  "one-line": '\nws ::= ""\ngap ::= " "',
};

/** EBNF of each `format`. */
export const formats: Readonly<Record<string, string>> = {
  date: "date",
  time: "time",
  "date-time": 'date "T" time',
  uuid: 'hex{8} "-" hex{4} "-" hex{4} "-" hex{4} "-" hex{12}',
  ipv4: 'octet "." octet "." octet "." octet',
};

/**
 * EBNF of the JSON texts that a schema holds for, from the rule `root`. The schema is one that `checkJsonSchema` lets
 * through. Some valid texts are left out: properties come in the schema's order and no others beside those it names, all
 * of `prefixItems` are there, and there are at most `maxWhitespace` characters of white space in one place.
 *
 * Not the library's own translation, which gets bounds of integers, escapes in names and more wrong (0.1.27).
 */
export function schemaGrammar(schema: JsonSchema, layout: JsonLayout = "free"): string {
  return new GrammarWriter(schema).write() + layouts[layout] + basis;
}

class GrammarWriter {
  readonly #root: JsonSchema;
  readonly #rules: string[] = [];
  /** Rule of each schema that is referred to, by its pointer. */
  readonly #references = new Map<string, string>();

  constructor(root: JsonSchema) {
    this.#root = root;
  }

  write(): string {
    const root = this.#expression(this.#root);
    return [`root ::= ${root}`, ...this.#rules].join("\n");
  }

  #rule(body: string): string {
    const name = `r${this.#rules.length}`;
    this.#rules.push(`${name} ::= ${body}`);
    return name;
  }

  #expression(schema: unknown): string {
    if (schema === true) return "value";
    const keywords = schema as Keywords;
    const { $ref, enum: values, anyOf, oneOf, allOf } = keywords;
    if (typeof $ref === "string") return this.#reference($ref);
    if (Object.hasOwn(keywords, "const")) return quoteText(JSON.stringify(keywords["const"]));
    if (values !== undefined) return quoteTexts((values as unknown[]).map((value) => JSON.stringify(value)));
    const parts = anyOf ?? oneOf ?? allOf;
    if (parts !== undefined) return alternatives((parts as unknown[]).map((part) => this.#expression(part)));
    const { type } = keywords;
    if (type === undefined) return "value";
    return alternatives(
      (Array.isArray(type) ? (type as string[]) : [type as string]).map((name) =>
        this.#typed(name, keywords),
      ),
    );
  }

  #typed(type: string, keywords: Keywords): string {
    if (type === "object") return this.#object(keywords);
    if (type === "array") return this.#array(keywords);
    if (type === "string") return text(keywords);
    if (type === "integer") return integer(keywords);
    if (type === "number") return number(keywords);
    return type;
  }

  #reference(pointer: string): string {
    const known = this.#references.get(pointer);
    if (known !== undefined) return known;
    // Named before it is written, as it may refer to itself.
    const name = `d${this.#references.size}`;
    this.#references.set(pointer, name);
    let target: unknown = this.#root;
    for (const part of pointer.slice(1).split("/").slice(1)) {
      target = (target as Keywords)[part.replaceAll("~1", "/").replaceAll("~0", "~")];
    }
    const body = this.#expression(target);
    this.#rules.push(`${name} ::= ${body}`);
    return name;
  }

  #object({ properties = {}, required = [], additionalProperties }: Keywords): string {
    const names = Object.keys(properties as object);
    if (names.length === 0) return this.#map(additionalProperties);
    const members = names.map((name) => {
      const value = this.#expression((properties as Keywords)[name]);
      return {
        text: `${quoteText(JSON.stringify(name))} ":" gap ${value}`,
        isRequired: (required as unknown[]).includes(name),
      };
    });
    // From the last to the first: what may follow when something came before it, and when nothing did.
    let [after, first] = ['""', '""'];
    for (const { text: member, isRequired } of members.toReversed()) {
      const next = after;
      const skipped = isRequired ? "" : ` | ${after}`;
      after = this.#rule(`"," gap ${member} ${next}${skipped}`);
      first = this.#rule(`${member} ${next}${isRequired ? "" : ` | ${first}`}`);
    }
    return `"{" ws ${first} ws "}"`;
  }

  /** An object without names of its own. */
  #map(values: unknown): string {
    if (values === false) return '"{" ws "}"';
    if (values === undefined || values === true) return "object";
    const member = this.#rule(`string ":" gap ${this.#expression(values)}`);
    return `"{" ws ("}" | ${member} ("," gap ${member})* ws "}")`;
  }

  #array({ items, prefixItems = [], minItems = 0, maxItems = Infinity }: Keywords): string {
    const most = maxItems as number;
    const leading = (prefixItems as unknown[]).slice(0, most).map((part) => this.#expression(part));
    const least = Math.max(0, (minItems as number) - leading.length);
    const hasMore = items !== false && (items !== undefined || leading.length === 0 || least > 0);
    const [from, to] = hasMore ? [least, most - leading.length] : [0, 0];
    const item = to > 0 ? this.#rule(this.#expression(items ?? true)) : "";
    const start = leading.join(' "," gap ');
    if (start !== "") return `"[" ws ${start} ${repeated(`"," gap ${item}`, from, to)} ws "]"`;
    if (to === 0) return '"[" ws "]"';
    const list = `${item} ${repeated(`"," gap ${item}`, Math.max(0, from - 1), to - 1)} ws "]"`;
    return from === 0 ? `"[" ws ("]" | ${list})` : `"[" ws ${list}`;
  }
}

const alternatives = (parts: readonly string[]): string =>
  parts.length === 1 ? parts[0]! : `(${parts.join(" | ")})`;

function repeated(body: string, from: number, to: number): string {
  if (to === 0) return "";
  return to === Infinity ? (from === 0 ? `(${body})*` : `(${body}){${from},}`) : `(${body}){${from},${to}}`;
}

function text({ pattern, format, minLength = 0, maxLength }: Keywords): string {
  if (typeof pattern === "string") return `"\\"" ${patternGrammar(pattern)} "\\""`;
  if (typeof format === "string") return `"\\"" ${formats[format]!} "\\""`;
  if (minLength === 0 && maxLength === undefined) return "string";
  return `"\\"" ${repeated("char", minLength as number, (maxLength as number | undefined) ?? Infinity)} "\\""`;
}

function integer(keywords: Keywords): string {
  const { lowest, highest, isOpenBelow, isOpenAbove } = boundsOf(keywords);
  if (lowest === -Infinity && highest === Infinity) return "integer";
  // The checks have found a number between them.
  return integerRange(lowest + (isOpenBelow ? 1 : 0), highest - (isOpenAbove ? 1 : 0))!;
}

function number(keywords: Keywords): string {
  const bounds = boundsOf(keywords);
  const isFree = bounds.lowest === -Infinity && bounds.highest === Infinity;
  return isFree ? "number" : numberRange(bounds)!;
}

/** The narrower of each pair of bounds. */
export function boundsOf({ minimum, maximum, exclusiveMinimum, exclusiveMaximum }: Keywords): NumberBounds {
  const or = (value: unknown, none: number): number => (typeof value === "number" ? value : none);
  const [low, openLow] = [or(minimum, -Infinity), or(exclusiveMinimum, -Infinity)];
  const [high, openHigh] = [or(maximum, Infinity), or(exclusiveMaximum, Infinity)];
  return {
    lowest: Math.max(low, openLow),
    highest: Math.min(high, openHigh),
    isOpenBelow: openLow !== -Infinity && openLow >= low,
    isOpenAbove: openHigh !== Infinity && openHigh <= high,
  };
}
