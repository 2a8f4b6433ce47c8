import { expect, test } from "vitest";
import { z } from "zod";
import { field, findValue, resolveSources } from "./component.ts";
import { readConfig } from "./config-file.ts";
import { readKeys } from "./key-file.ts";
import { integer, jsonObject, oneOf, textListOrJson } from "./value-schemas.ts";

const component = {
  count: field("--max-count <n>", integer(1, 100).default(3), "how many", { env: "COUNT" }),
  mode: field("--mode <on|off>", oneOf(["on", "off"]).default("on"), "how"),
  quiet: field("--quiet", z.boolean().default(false), "say less"),
  names: field("--name <name>", z.array(z.string()).default([]), "who"),
  extra: field("--extra <json>", jsonObject.optional(), "what else"),
  origins: field("--origins <list>", textListOrJson.prefault("*"), "whence"),
};

function resolve(document: unknown, given: object = {}, environment: Record<string, string> = {}) {
  const file = { name: "a.yaml", values: readConfig("a.yaml", document, [component]) };
  return resolveSources(component, {
    given: given as Record<string, unknown>,
    environment,
    variablePrefix: "MILLRACE_",
    file,
  });
}

test("a file gives values in YAML's own kinds, with dashes or underscores", () => {
  const document = {
    max_count: 7,
    mode: false,
    quiet: true,
    name: ["a", "b"],
    origins: ["x", "y"],
    extra: { deep: { a: 1 } },
  };
  expect(resolve(document)).toEqual({
    count: 7,
    mode: "off",
    quiet: true,
    names: ["a", "b"],
    origins: ["x", "y"],
    extra: { deep: { a: 1 } },
  });
  expect(resolve(null)).toMatchObject({ count: 3, names: [], origins: ["*"] });
  expect(resolve({ name: "one", origins: '["a"]' })).toMatchObject({ names: ["one"], origins: ["a"] });
});

test("a flag beats a variable, which beats the file, which beats the default", () => {
  const document = { "max-count": 7 };
  expect(resolve(document, {}, { MILLRACE_MAX_COUNT: "8" }).count).toBe(8);
  expect(resolve(document, {}, { MILLRACE_MAX_COUNT: "8", COUNT: "9" }).count).toBe(9);
  expect(resolve(document, { count: "10" }, { MILLRACE_MAX_COUNT: "8" }).count).toBe(10);
  expect(resolve({}, {}, { MILLRACE_QUIET: "1", MILLRACE_NAME: "x" })).toMatchObject({
    quiet: true,
    names: ["x"],
  });
  const environment = { MILLRACE_MODE: "off" };
  expect(findValue("mode", component.mode, { given: {}, environment, variablePrefix: "MILLRACE_" })).toEqual({
    value: "off",
    source: "MILLRACE_MODE",
  });
});

test("what a file must not say is refused, with the nearest name or what is allowed", () => {
  const refusals: [unknown, string][] = [
    [
      { "max-cuont": 1 },
      'The file a.yaml sets "max-cuont", which is no flag here. The nearest is max-count.',
    ],
    [[1], "The file a.yaml holds no settings by name. Write lines such as max-count: 3."],
    [{ quiet: "yes" }, 'In a.yaml, quiet is "yes"; it takes true or false.'],
    [{ mode: [{ a: 1 }] }, 'In a.yaml, mode is [{"a":1}]; it takes what --mode <on|off> takes.'],
    [{ extra: [1] }, '--extra is "1" (from a.yaml): it takes a JSON object'],
    [{ "max-count": 1000 }, '--max-count is "1000" (from a.yaml): it takes a whole number from 1 to 100.'],
    [{ origins: "[1]" }, '--origins is "[1]" (from a.yaml): it takes texts with commas, or a JSON list'],
  ];
  for (const [document, message] of refusals) expect(() => resolve(document)).toThrow(message);
});

test("a file of keys is read, and faults are told without a key", () => {
  const good = { name: "a", key: "long-enough", scopes: ["inference"], "tokens-per-minute": 5, tenant: "t" };
  expect(readKeys("k.yaml", { keys: [good] })).toEqual([good]);
  const refusals: [unknown, string][] = [
    [{}, "In k.yaml, keys must be a list of keys."],
    [{ keys: [] }, "keys must be a list of at least one key"],
    [{ keys: [{ name: "a" }] }, "keys.0 must be an entry with either key or sha256"],
    [{ keys: [{ name: "a", key: "short" }] }, "keys.0.key must be a text of at least 8 characters"],
    [{ keys: [{ ...good, scopes: ["root"] }] }, "keys.0.scopes.0 must be inference, metrics or admin"],
    [
      { keys: [{ ...good, "token-per-minute": 5 }] },
      "keys.0 must be an entry without fields that are not known",
    ],
    [{ keys: [{ ...good, "max-concurrency": 0 }] }, "max-concurrency must be a whole number of at least 1"],
    [{ keys: [good, good] }, "two keys are named a"],
  ];
  for (const [document, message] of refusals) {
    expect(() => readKeys("k.yaml", document)).toThrow(message);
    try {
      readKeys("k.yaml", document);
    } catch (error) {
      expect(String(error)).not.toMatch(/long-enough|short/);
    }
  }
});
