import { expect, test } from "vitest";
import { generationDefaultsOf } from "./generation-defaults.ts";

test("the operator's values stand in place of the model's, and nothing else of the model's file is read", () => {
  const config = { temperature: 0.6, top_k: 20, do_sample: false, eos_token_id: [1] };
  expect(generationDefaultsOf(config, {})).toEqual({ temperature: 0.6, topK: 20 });
  expect(generationDefaultsOf(config, { temperature: 0, min_p: 0.1 })).toEqual({
    temperature: 0,
    topK: 20,
    minP: 0.1,
  });
});

test("what no request could ask for is refused", () => {
  const refused: [object, string][] = [
    [{ temperature: 9 }, "sets temperature to 9; it must be a number from 0 (greedy) to 2."],
    [{ top_k: "x" }, 'sets top_k to "x"; it must be a whole number from 1 to'],
    [{ top_p: null }, "sets top_p to null; it must be a number."],
    [
      { max_new_tokens: 5 },
      "sets max_new_tokens; it may set temperature, top_p, top_k, min_p, repetition_penalty.",
    ],
  ];
  for (const [override, message] of refused) {
    expect(() => generationDefaultsOf({}, override as Record<string, unknown>)).toThrow(message);
  }
});
