import { MillraceError } from "../base/errors.ts";
import type { JsonSchema } from "./grammar-spec.ts";
import { integerRange, numberRange } from "./number-range.ts";
import { boundsOf, formats } from "./schema-grammar.ts";
import { findPatternFault } from "./schema-pattern.ts";

type Keywords = Readonly<Record<string, unknown>>;

/** Keywords that say nothing of which values are allowed. */
const annotations: ReadonlySet<string> = new Set(
  "title description default examples $schema $id $comment deprecated readOnly writeOnly $defs definitions".split(
    " ",
  ),
);

const boundKeywords = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"] as const;

/** What each type of value may be held to. */
const keywordsOf: Readonly<Record<string, readonly string[]>> = {
  object: ["properties", "required", "additionalProperties"],
  array: ["items", "prefixItems", "minItems", "maxItems"],
  string: ["minLength", "maxLength", "pattern", "format"],
  integer: boundKeywords,
  number: boundKeywords,
  boolean: [],
  null: [],
};

const maxDepth = 100;
const maxSchemas = 5000;

/**
 * Refuses a schema that the grammar could not hold an answer to: nothing is left out silently. A schema has either one
 * of `$ref`, `const`, `enum`, `anyOf`, `oneOf` and `allOf` (of one), or a `type` and that type's keywords.
 *
 * @throws invalid_request naming the path of the keyword within the field `param`
 */
export function checkJsonSchema(schema: JsonSchema, param: string): void {
  new SchemaChecker(schema).check(schema, param, 0);
}

class SchemaChecker {
  readonly #root: JsonSchema;
  #count = 0;
  /** References whose target has been looked at: it may stand where no schema is looked for. */
  readonly #seen = new Set<string>();

  constructor(root: JsonSchema) {
    this.#root = root;
  }

  check(schema: unknown, path: string, depth: number): void {
    this.#count += 1;
    if (depth > maxDepth || this.#count > maxSchemas) {
      throw refuse(
        path,
        `is larger than a schema may be (${maxDepth} levels, ${maxSchemas} parts)`,
        "Make it smaller.",
      );
    }
    if (schema === true) return;
    if (typeof schema !== "object" || schema === null || Array.isArray(schema)) {
      throw refuse(path, `is ${shown(schema)}`, "It must be an object, or true.");
    }
    const keywords = schema as Keywords;
    for (const name of ["$defs", "definitions"]) this.#checkEach(keywords[name], `${path}.${name}`, depth);
    const combining = ["$ref", "const", "enum", "anyOf", "oneOf", "allOf"].filter((name) =>
      Object.hasOwn(keywords, name),
    );
    if (combining.length > 0) this.#checkCombined(keywords, combining[0]!, path, depth);
    else this.#checkTyped(keywords, path, depth);
  }

  #checkCombined(keywords: Keywords, name: string, path: string, depth: number): void {
    // The library takes the first of them and does not look at what stands beside it.
    const isUseful = (other: string): boolean =>
      other === name || annotations.has(other) || (other === "type" && (name === "enum" || name === "const"));
    const beside = Object.keys(keywords).find((other) => !isUseful(other));
    if (beside !== undefined) {
      throw refuse(
        `${path}.${beside}`,
        `stands beside ${name}`,
        `Only one of them can be kept to. Write the schema without ${beside}.`,
      );
    }
    const value = keywords[name];
    const place = `${path}.${name}`;
    if (name === "$ref") this.#checkReference(value, place, depth);
    else if (name === "const") checkValues([value], keywords["type"], place);
    else if (name === "enum") checkValues(listOf(value, place), keywords["type"], place);
    else {
      const parts = listOf(value, place);
      for (const [index, part] of parts.entries()) this.check(part, `${place}[${index}]`, depth + 1);
      if (name === "allOf" && parts.length > 1) {
        throw refuse(
          place,
          "has several schemas",
          "All of them at once cannot be kept to. Write them as one schema.",
        );
      }
      if (name === "oneOf" && !areDisjoint(parts)) {
        throw refuse(
          place,
          "has schemas that a value might match twice",
          "Write anyOf, or give each a type of its own or a property with a const of its own that is required.",
        );
      }
    }
  }

  #checkTyped(keywords: Keywords, path: string, depth: number): void {
    const types = typesOf(keywords["type"], path);
    const known = new Set(types.flatMap((type) => keywordsOf[type] ?? []));
    for (const name of Object.keys(keywords)) {
      if (name === "type" || annotations.has(name)) continue;
      if (known.has(name)) continue;
      const isOfType = Object.values(keywordsOf).some((names) => names.includes(name));
      const why = isOfType
        ? `does not belong to type ${types.join(" or ") || "(none is given)"}`
        : "is not supported";
      const advice = isOfType && types.length === 0 ? "Add the type." : "Leave it out.";
      throw refuse(`${path}.${name}`, why, advice);
    }
    if (types.includes("object")) this.#checkObject(keywords, path, depth);
    if (types.includes("array")) this.#checkArray(keywords, path, depth);
    if (types.includes("string")) checkText(keywords, path);
    for (const type of ["integer", "number"]) {
      if (types.includes(type)) checkBounds(keywords, path, type === "integer");
    }
  }

  #checkObject(keywords: Keywords, path: string, depth: number): void {
    const { properties = {}, required = [], additionalProperties } = keywords;
    this.#checkEach(properties, `${path}.properties`, depth);
    for (const name of Object.keys(properties as object)) {
      if (JSON.stringify(name) === `"${name}"`) continue;
      throw refuse(
        `${path}.properties`,
        `has the name ${shown(name)}, which JSON escapes`,
        "Use another name.",
      );
    }
    for (const [index, name] of listOf(required, `${path}.required`, 0).entries()) {
      if (typeof name === "string" && Object.hasOwn(properties as object, name)) continue;
      throw refuse(`${path}.required[${index}]`, `is ${shown(name)}`, "It must name one of the properties.");
    }
    if (typeof additionalProperties !== "boolean" && additionalProperties !== undefined) {
      this.check(additionalProperties, `${path}.additionalProperties`, depth + 1);
    }
  }

  #checkArray(keywords: Keywords, path: string, depth: number): void {
    const { items, prefixItems } = keywords;
    if (prefixItems !== undefined) {
      const place = `${path}.prefixItems`;
      for (const [index, part] of listOf(prefixItems, place).entries())
        this.check(part, `${place}[${index}]`, depth + 1);
    }
    if (items !== undefined && items !== false) this.check(items, `${path}.items`, depth + 1);
    checkRange(keywords, "minItems", "maxItems", path);
    const numFirst = Array.isArray(prefixItems) ? prefixItems.length : 0;
    if (items === false && numberOr(keywords["minItems"], 0) > numFirst) {
      throw refuse(
        `${path}.minItems`,
        `is above the ${numFirst} items that there may be`,
        "Correct it, or allow items.",
      );
    }
  }

  /** A map of schemas by name. */
  #checkEach(value: unknown, path: string, depth: number): void {
    if (value === undefined) return;
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw refuse(path, `is ${shown(value)}`, "It must be an object of schemas.");
    }
    for (const [name, schema] of Object.entries(value)) this.check(schema, `${path}.${name}`, depth + 1);
  }

  #checkReference(value: unknown, path: string, depth: number): void {
    let target: unknown = this.#root;
    const isLocal = typeof value === "string" && /^#(\/|$)/.test(value);
    const parts = isLocal ? value.slice(1).split("/").slice(1) : [];
    for (const part of parts) {
      const name = part.replaceAll("~1", "/").replaceAll("~0", "~");
      const isThere = typeof target === "object" && target !== null && Object.hasOwn(target, name);
      target = isThere ? (target as Keywords)[name] : undefined;
    }
    if (isLocal && target !== undefined) {
      if (this.#seen.has(value)) return;
      this.#seen.add(value);
      this.check(target, path, depth + 1);
      return;
    }
    throw refuse(path, `is ${shown(value)}`, "It must be # or #/ and the path of a schema within this one.");
  }
}

function typesOf(type: unknown, path: string): readonly string[] {
  if (type === undefined) return [];
  const types = Array.isArray(type) ? (type as unknown[]) : [type];
  const bad = types.find((name) => typeof name !== "string" || !Object.hasOwn(keywordsOf, name));
  if (bad === undefined && types.length > 0) return types as string[];
  throw refuse(
    `${path}.type`,
    `is ${shown(type)}`,
    `It must be one or several of ${Object.keys(keywordsOf).join(", ")}.`,
  );
}

function checkText(keywords: Keywords, path: string): void {
  const rules = ["pattern", "format"].filter((name) => keywords[name] !== undefined);
  const lengths = ["minLength", "maxLength"].filter((name) => keywords[name] !== undefined);
  if (rules.length > 1 || (rules.length === 1 && lengths.length > 0)) {
    const other = lengths[0] ?? rules[1]!;
    throw refuse(
      `${path}.${other}`,
      `stands beside ${rules[0]}`,
      "Only one of them can be kept to. Put the length into the pattern.",
    );
  }
  const { pattern, format } = keywords;
  if (format !== undefined && !(typeof format === "string" && Object.hasOwn(formats, format))) {
    throw refuse(
      `${path}.format`,
      `is ${shown(format)}`,
      `It can be one of ${Object.keys(formats).join(", ")}.`,
    );
  }
  if (pattern !== undefined) {
    const fault = typeof pattern === "string" ? findPatternFault(pattern) : "is no text";
    if (fault !== null)
      throw refuse(`${path}.pattern`, fault, "Write it with literals, classes, groups, | and quantifiers.");
  }
  checkRange(keywords, "minLength", "maxLength", path);
}

function checkBounds(keywords: Keywords, path: string, isWhole: boolean): void {
  for (const name of boundKeywords) {
    const value = keywords[name];
    if (value === undefined || Number.isSafeInteger(value)) continue;
    throw refuse(`${path}.${name}`, `is ${shown(value)}`, "It must be a whole number.");
  }
  const bounds = boundsOf(keywords);
  const range = isWhole
    ? integerRange(
        bounds.lowest + (bounds.isOpenBelow ? 1 : 0),
        bounds.highest - (bounds.isOpenAbove ? 1 : 0),
      )
    : numberRange(bounds);
  if (range === null) throw refuse(path, "leaves no number between its bounds", "Correct them.");
}

function checkRange(keywords: Keywords, least: string, most: string, path: string): void {
  for (const name of [least, most]) {
    const value = keywords[name];
    if (value === undefined || (Number.isSafeInteger(value) && (value as number) >= 0)) continue;
    throw refuse(`${path}.${name}`, `is ${shown(value)}`, "It must be a whole number from 0.");
  }
  if (numberOr(keywords[least], 0) > numberOr(keywords[most], Infinity)) {
    throw refuse(`${path}.${least}`, `is above ${most}`, "Correct one of them.");
  }
}

const numberOr = (value: unknown, other: number): number => (typeof value === "number" ? value : other);

function listOf(value: unknown, path: string, least = 1): readonly unknown[] {
  if (Array.isArray(value) && value.length >= least) return value;
  throw refuse(path, `is ${shown(value)}`, `It must be a list${least > 0 ? " that is not empty" : ""}.`);
}

function checkValues(values: readonly unknown[], type: unknown, path: string): void {
  const types = typesOf(type, path);
  const wrong =
    types.length === 0
      ? undefined
      : values.findIndex((value) => !types.some((name) => isOfType(value, name)));
  if (wrong === undefined || wrong === -1) return;
  throw refuse(
    path,
    `has ${shown(values[wrong])}, which is not of type ${types.join(" or ")}`,
    "Correct one of them.",
  );
}

function isOfType(value: unknown, type: string): boolean {
  if (type === "integer") return Number.isInteger(value);
  if (type === "null") return value === null;
  if (type === "array") return Array.isArray(value);
  if (type === "object") return typeof value === "object" && value !== null && !Array.isArray(value);
  return typeof value === type;
}

/** Whether no value can match two of the schemas, told by their types or by a required property with one value each. */
function areDisjoint(schemas: readonly unknown[]): boolean {
  const types = schemas.map((schema) => (schema as Keywords)["type"]);
  // A whole number is a number too.
  const kinds = types.map((type) => (type === "integer" ? "number" : type));
  if (kinds.every((kind) => typeof kind === "string") && new Set(kinds).size === kinds.length) return true;
  const first = schemas[0] as { readonly properties?: Keywords };
  return Object.keys(first.properties ?? {}).some((name) => {
    const values = schemas.map((schema) => constantOf(schema as Keywords, name));
    return !values.includes(undefined) && new Set(values).size === values.length;
  });
}

/** The one value of a required property as JSON; undefined where it has no single one. */
function constantOf(schema: Keywords, name: string): string | undefined {
  const { properties = {}, required = [] } = schema as {
    properties?: Record<string, Keywords>;
    required?: unknown[];
  };
  const property = properties[name];
  if (!required.includes(name) || property === undefined) return undefined;
  const list = property["enum"];
  const value = Array.isArray(list) && list.length === 1 ? (list[0] as unknown) : property["const"];
  return value === undefined ? undefined : JSON.stringify(value);
}

function shown(value: unknown): string {
  if (value === undefined) return "missing";
  const text = JSON.stringify(value);
  return text.length <= 60 ? text : `${text.slice(0, 60)}…`;
}

/** @param fault completes "The schema's … " */
function refuse(path: string, fault: string, advice: string): MillraceError {
  return new MillraceError("invalid_request", `The field ${path} ${fault}. ${advice}`, { param: path });
}
