import { expect, test } from "vitest";
import { post } from "../../../tests/served-completions.ts";
import { createServedFake } from "../../../tests/served-fake.ts";

test.each<[object, string, string]>([
  [{ jsn: {} }, "structured_outputs.jsn", "; json may be meant."],
  [{ json: {}, whitespace_pattern: " " }, "structured_outputs.whitespace_pattern", "known are json, regex, "],
  [{ disable_any_whitespace: 1 }, "structured_outputs.disable_any_whitespace", "true or false"],
])("structured_outputs of %j is refused, not left out", async (asked, param, says) => {
  const response = await post(createServedFake(), { prompt: "p", structured_outputs: asked });
  const { error } = (await response.json()) as { error: { message: string; param: string } };
  expect([response.status, error.param, error.message]).toEqual([400, param, expect.stringContaining(says)]);
});
