import { expect, it } from "vitest";
import { parseGenKwargs } from "./generation-settings.ts";

it.each([
  ["temperature=0.7,do_sample=true, top_p=.9", { temperature: 0.7, do_sample: true, top_p: 0.9 }],
  ["max_gen_toks=64", { max_gen_toks: 64 }],
  ["until=2", { until: ["2"] }],
  ['{"until": ["a", "b,c"], "temperature": 0}', { until: ["a", "b,c"], temperature: 0 }],
])("reads %s", (text, settings) => {
  expect(parseGenKwargs(text)).toEqual(settings);
});

it.each(["temperature=warm", "beams=4", "max_gen_toks=0", "top_p=2", "{", "temperature"])(
  "refuses %s by name",
  (text) => {
    const name = /^\w*/.exec(text)![0];
    expect(() => parseGenKwargs(text)).toThrow(
      expect.objectContaining({ code: "invalid_option", message: expect.stringContaining(name) as string }),
    );
  },
);
