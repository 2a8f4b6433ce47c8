import { describe, expect, test, vi } from "vitest";
import { generate, idsOf, prompts, startContextEngine } from "../../../tests/context-engine.ts";
import type { EngineOutput } from "../../protocol/engine-client.ts";

describe("speculation", () => {
  const repetitive = Array.from({ length: 30 }, (_, i) => [3, 5, 7, 4][i % 4]!);
  const cases = [...prompts, repetitive];
  const settings = { maxTokens: 12, temperature: 1, seed: 5n, logprobs: 2 };
  const joined = (outputs: EngineOutput[]): unknown => ({
    ids: idsOf(outputs),
    logprobs: outputs.flatMap((o) => [...(o.logprobs ?? [])]),
    end: outputs.at(-1)!.finishReason,
  });

  for (const [name, numBlocks] of [
    ["n-gram", 128],
    ["n-gram with preemption", 16],
    ["a draft that is mostly right", 128],
    ["a draft with preemption", 16],
  ] as const) {
    test(`gives what plain decoding gives, by ${name}`, async () => {
      const plain = startContextEngine({ numBlocks: 128 });
      const expected = [];
      for (const prompt of cases) expected.push(joined(await generate(plain.client, prompt, settings)));
      const bench = startContextEngine({
        numBlocks,
        speculation: name.startsWith("n-gram") ? "ngram" : "draft",
      });
      const together = await Promise.all(cases.map((prompt) => generate(bench.client, prompt, settings)));
      expect(together.map(joined)).toEqual(expected);
      bench.engine.checkInvariants();
    });
  }
});

test("a draft that breaks costs its guesses only: every request is answered as without", async () => {
  const emitWarning = vi.spyOn(process, "emitWarning").mockImplementation(() => {});
  // The clock stands still: a guess costs nothing, so one is tried.
  vi.spyOn(performance, "now").mockReturnValue(1000);
  const settings = { maxTokens: 12, temperature: 0 };
  const plain = startContextEngine();
  const expected = [];
  for (const prompt of prompts) expected.push(idsOf(await generate(plain.client, prompt, settings)));
  const bench = startContextEngine({ speculation: "draft" });
  const { model } = bench.context.draft;
  vi.spyOn(model, "forward").mockImplementation(() => {
    throw new Error("no guess");
  });
  const together = await Promise.all(prompts.map((prompt) => generate(bench.client, prompt, settings)));
  expect(together.map(idsOf)).toEqual(expected);
  expect(emitWarning).toHaveBeenCalledTimes(1);
  bench.engine.checkInvariants();
  vi.restoreAllMocks();
});
