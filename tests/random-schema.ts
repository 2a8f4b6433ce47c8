import type { createRandom } from "./law/covering-array.ts";

type Random = ReturnType<typeof createRandom>;

type Schema = Record<string, unknown>;

const words = ["name", "age", "city", "tags", "price", "active", "id", "kind", "Straße", "a b"];

/** A JSON schema of the part that is supported, at most `depth` levels deep. Its values are short. */
export function randomSchema(random: Random, depth = 3): Schema {
  const leaf = [
    randomNumber,
    randomText,
    randomInteger,
    randomEnum,
    randomConst,
    () => ({ type: oneOf(random, simpleTypes) }),
  ];
  const nested = [randomObject, randomArray, randomTuple, randomUnion, randomObject, randomNullable];
  const makers = depth === 0 ? leaf : [...leaf, ...nested, ...nested];
  return oneOf(random, makers)(random, depth);
}

/** As `randomSchema`, an object at the root as most requests have it, sometimes recursive through `$ref`. */
export function randomRoot(random: Random): Schema {
  const root = randomObject(random, 3);
  if (random() > 0.25) return root;
  const node = { type: "object", properties: { value: { type: "integer" }, next: { $ref: "#/$defs/node" } } };
  const properties = { ...(root["properties"] as Schema), list: { $ref: "#/$defs/node" } };
  return {
    ...root,
    properties,
    $defs: { node: { ...node, required: ["value"], additionalProperties: false } },
  };
}

const simpleTypes = ["boolean", "null", "integer", "number"];

function oneOf<T>(random: Random, items: readonly T[]): T {
  return items[Math.floor(random() * items.length)]!;
}

const upTo = (random: Random, most: number): number => Math.floor(random() * (most + 1));

function randomText(random: Random): Schema {
  const patterns = ["^[a-z]{2,6}$", "[A-Z]{2}-\\d{1,4}", "(red|green|blue)", "\\w{1,8}"];
  const choice = upTo(random, 3);
  if (choice === 0) return { type: "string", pattern: oneOf(random, patterns) };
  if (choice === 1)
    return { type: "string", format: oneOf(random, ["date", "time", "date-time", "uuid", "ipv4"]) };
  const minLength = upTo(random, 4);
  return { type: "string", minLength, maxLength: minLength + upTo(random, 12) };
}

function randomInteger(random: Random): Schema {
  const minimum = upTo(random, 2000) - 1000;
  const bounds = [
    { minimum, maximum: minimum + upTo(random, 3000) },
    { exclusiveMinimum: minimum, exclusiveMaximum: minimum + 2 + upTo(random, 50) },
    { minimum },
    { maximum: minimum },
    {},
  ];
  return { type: "integer", ...oneOf(random, bounds) };
}

function randomNumber(random: Random): Schema {
  const minimum = upTo(random, 40) - 20;
  const bounds = [
    { minimum, maximum: minimum + upTo(random, 30) },
    { exclusiveMinimum: minimum },
    { maximum: minimum },
  ];
  return { type: "number", ...oneOf(random, bounds) };
}

function randomEnum(random: Random): Schema {
  const values = [1, "one", null, true, 2.5, 'quo"te', "é\n", { a: [1] }, -7];
  return { enum: values.filter(() => random() < 0.4).concat("last") };
}

const randomConst = (random: Random): Schema => ({ const: oneOf(random, [42, "fixed", null, [1, 2]]) });

function randomObject(random: Random, depth: number): Schema {
  const names = words.filter(() => random() < 0.35);
  const properties = Object.fromEntries(names.map((name) => [name, randomSchema(random, depth - 1)]));
  const required = names.filter(() => random() < 0.7);
  return { type: "object", properties, required, additionalProperties: false };
}

function randomArray(random: Random, depth: number): Schema {
  const minItems = upTo(random, 2);
  const maxItems = minItems + upTo(random, 3);
  return { type: "array", items: randomSchema(random, depth - 1), minItems, maxItems };
}

function randomTuple(random: Random, depth: number): Schema {
  const prefixItems = [randomSchema(random, depth - 1), randomSchema(random, depth - 1)];
  return { type: "array", prefixItems, items: false, minItems: 2 };
}

function randomUnion(random: Random, depth: number): Schema {
  if (random() < 0.5) return { anyOf: [randomSchema(random, depth - 1), randomSchema(random, depth - 1)] };
  const branch = (kind: string): Schema => ({
    type: "object",
    properties: { kind: { const: kind }, value: randomSchema(random, depth - 1) },
    required: ["kind", "value"],
    additionalProperties: false,
  });
  return { oneOf: [branch("a"), branch("b")] };
}

const randomNullable = (): Schema => ({ type: ["integer", "null"] });
