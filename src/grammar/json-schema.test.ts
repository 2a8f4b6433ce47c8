import { expect, test } from "vitest";
import type { JsonSchema } from "./grammar-spec.ts";
import { checkJsonSchema } from "./json-schema.ts";

const inObject = (schema: object): object => ({ type: "object", properties: { a: schema } });

test.each<[object, string]>([
  [{ not: {} }, "s.not"],
  [{ if: {}, else: {} }, "s.if"],
  [inObject({ type: "array", uniqueItems: true }), "s.properties.a.uniqueItems"],
  [inObject({ type: "array", contains: {} }), "s.properties.a.contains"],
  [{ type: "array", items: { type: "number", multipleOf: 2 } }, "s.items.multipleOf"],
  [{ type: "number", minimum: 0.5 }, "s.minimum"],
  [{ type: "integer", minimum: 3, maximum: 2 }, "s"],
  [{ type: "number", exclusiveMinimum: 2, exclusiveMaximum: 2 }, "s"],
  [{ minimum: 3 }, "s.minimum"],
  [{ type: "string", minimum: 3 }, "s.minimum"],
  [{ type: "text" }, "s.type"],
  [{ type: "string", format: "email" }, "s.format"],
  [{ type: "string", pattern: "a", minLength: 2 }, "s.minLength"],
  [{ type: "string", minLength: 5, maxLength: 2 }, "s.minLength"],
  [{ type: "string", maxLength: -1 }, "s.maxLength"],
  [{ type: "object", required: ["b"] }, "s.required[0]"],
  [{ type: "object", properties: { 'say "hi"': true } }, "s.properties"],
  [{ type: "object", properties: [] }, "s.properties"],
  [{ type: "object", minProperties: 1 }, "s.minProperties"],
  [{ type: "object", patternProperties: {} }, "s.patternProperties"],
  [{ $ref: "#/$defs/b" }, "s.$ref"],
  [{ $ref: "#", type: "object" }, "s.type"],
  [inObject({ $ref: "#/examples/0" }), "s.properties.a.$ref"],
  [{ anyOf: [{ $ref: "#/default" }, true], default: { not: {} } }, "s.anyOf[0].$ref.not"],
  [{ type: "array", prefixItems: [true], items: false, minItems: 2 }, "s.minItems"],
  [{ anyOf: [{ type: "integer" }], minimum: 3 }, "s.minimum"],
  [{ anyOf: [] }, "s.anyOf"],
  [{ enum: ["a", 1], type: "string" }, "s.enum"],
  [{ allOf: [{ type: "integer" }, { type: "integer" }] }, "s.allOf"],
  [{ oneOf: [{ type: "integer" }, { type: "number" }] }, "s.oneOf"],
  [{ $defs: { x: { not: {} } }, type: "null" }, "s.$defs.x.not"],
  [{ anyOf: [{ type: "null" }, false] }, "s.anyOf[1]"],
])("%j is refused at %s", (schema, param) => {
  expect(() => checkJsonSchema(schema as JsonSchema, "s")).toThrow(
    expect.objectContaining({ code: "invalid_request", param }),
  );
});

test.each([".", "[^a]", "a\\sb", '"', "[!-~]", "(?=a)", "(?<n>a)", "a^b", "[", "\\1(a)", "\\u0041", "[]"])(
  "the pattern %s is refused",
  (pattern) => {
    expect(() => checkJsonSchema({ type: "string", pattern }, "s")).toThrow(
      expect.objectContaining({ param: "s.pattern" }),
    );
  },
);

test("a schema too deep, or of too many parts, is refused before it is walked to its end", () => {
  let deep: JsonSchema = { type: "null" };
  for (let level = 0; level < 100_000; level += 1) deep = { type: "array", items: deep };
  expect(() => checkJsonSchema(deep, "s")).toThrow(/larger than a schema may be/);
  const wide = { anyOf: Array.from({ length: 6000 }, () => ({ type: "null" })) };
  expect(() => checkJsonSchema(wide, "s")).toThrow(/larger than a schema may be/);
});
