import { expect, test } from "vitest";
import { z } from "zod";
import { choicesOf, defaultText, field, flagName, resolveComponent } from "./component.ts";
import { bytes, integer, oneOf, tokenCountOrAuto } from "./value-schemas.ts";

const component = {
  count: field("--count <n>", integer(1, 10).default(3), "how many", { env: "COUNT" }),
  size: field("--size <size>", bytes.optional(), "how big"),
  length: field("--length <tokens>", tokenCountOrAuto.optional(), "how long"),
  mode: field("--mode <name>", oneOf(["fast", "slow"]).default("fast"), "how"),
  quiet: field("--quiet", z.boolean().default(false), "say less"),
};

test("a flag beats the environment, which beats the default", () => {
  expect(resolveComponent(component, {}, {}).count).toBe(3);
  expect(resolveComponent(component, {}, { COUNT: "4" }).count).toBe(4);
  expect(resolveComponent(component, { count: "5" }, { COUNT: "4" }).count).toBe(5);
});

test("sizes and token counts take units", () => {
  const values = resolveComponent(component, { size: "1.5GiB", length: "32k" }, {});
  expect(values.size).toBe(1.5 * 1024 ** 3);
  expect(values.length).toBe(32768);
});

test("a wrong value names the option, the value and what is allowed", () => {
  const wrong =
    (given: Record<string, unknown>): (() => unknown) =>
    () =>
      resolveComponent(component, given, {});
  expect(wrong({ count: "11" })).toThrow('--count is "11": it takes a whole number from 1 to 10');
  expect(wrong({ mode: "odd" })).toThrow('--mode is "odd": it takes one of fast, slow');
  for (const size of ["big", "0", "0GiB", "-1"]) {
    expect(wrong({ size })).toThrow(
      `--size is "${size}": it takes a size above 0 in B, KiB, MiB, GiB, TiB, KB, MB, GB or TB, such as 2GiB`,
    );
  }
  expect(() => resolveComponent(component, {}, { COUNT: "x" })).toThrow("(from COUNT)");
  expect(wrong({ size: "8PiB" })).toThrow("in B, KiB, MiB, GiB, TiB,");
  expect(resolveComponent(component, { size: "1TiB" }, {}).size).toBe(1024 ** 4);
  // Several rules are broken at once, by the same words.
  expect(wrong({ count: "1e30" })).toThrow(
    '--count is "1e30": it takes a whole number from 1 to 10. See --help.',
  );
});

test("no text of the schema library reaches a user", () => {
  const plain = {
    file: field("--file <file>", z.string(), "which"),
    list: field("--list <text...>", z.array(z.string()).default([]), "which"),
    quiet: field("--quiet", z.boolean().default(false), "say less", { env: "QUIET" }),
  };
  const given = { file: "a" };
  expect(() => resolveComponent(plain, {}, {})).toThrow(
    "--file is missing: it takes the form --file <file>. See --help.",
  );
  expect(() => resolveComponent(plain, { ...given, list: "a" }, {})).toThrow(
    '--list is "a": it takes the form --list <text...>. See --help.',
  );
  expect(() => resolveComponent(plain, given, { QUIET: "yes" })).toThrow(
    '--quiet is "yes" (from QUIET): it takes the form --quiet. See --help.',
  );
});

test("help shows defaults that say something", () => {
  expect(flagName("--count <n>")).toBe("--count");
  expect(defaultText(component.count)).toBe("3");
  expect(defaultText(component.size)).toBeUndefined();
  expect(defaultText(component.quiet)).toBeUndefined();
  const limit = field("--limit <size>", bytes.prefault("32MiB"), "how much");
  expect(defaultText(limit)).toBe("32MiB");
  expect(resolveComponent({ limit }, {}, {}).limit).toBe(32 * 1024 ** 2);
});

test("help lists what a field of few values takes", () => {
  expect(choicesOf(component.mode)).toEqual(["fast", "slow"]);
  expect(choicesOf(component.count)).toBeUndefined();
});
