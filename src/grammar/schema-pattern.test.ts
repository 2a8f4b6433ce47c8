import { expect, test } from "vitest";
import { findPatternFault, patternGrammar } from "./schema-pattern.ts";

test.each([
  ["^[a-z]{2,6}$", "([a-z]{2,6})"],
  ["a+?b*", '("a"+ "b"*)'],
  ["(?:x|y\\.)\\d{3}", '(( "x" | "y" "." ) [0-9]{3})'],
  ["[\\w-]+@[a-z.]+", '([A-Za-z0-9_\\U0000002d]+ "@" [a-z\\U0000002e]+)'],
  ["é\\$", '("\\U000000e9" "$")'],
  ["", '""'],
])("%s becomes %s", (pattern, grammar) => {
  expect(findPatternFault(pattern)).toBeNull();
  expect(patternGrammar(pattern)).toBe(grammar);
});
