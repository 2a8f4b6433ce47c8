import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import {
  type Bench,
  generate,
  idsOf,
  prompts,
  startContextEngine,
  vocabSize,
} from "../../../tests/context-engine.ts";
import type { EngineOutput } from "../../protocol/engine-client.ts";
import type { SamplingParams } from "../../protocol/sampling-params.ts";

const repetitive = Array.from({ length: 30 }, (_, i) => [3, 5, 7, 4][i % 4]!);
const cases = [...prompts, repetitive];

const joined = (outputs: EngineOutput[]): unknown => ({
  ids: idsOf(outputs),
  logprobs: outputs.flatMap((o) => [...(o.logprobs ?? [])]),
  end: outputs.at(-1)!.finishReason,
  stopReason: outputs.at(-1)!.stopReason,
});

interface Asked {
  readonly prompt: number[];
  readonly sampling: Partial<SamplingParams>;
}

/** One request after the other. */
async function answersAlone(bench: Bench, requests: readonly Asked[]): Promise<unknown[]> {
  const answers: unknown[] = [];
  for (const { prompt, sampling } of requests)
    answers.push(joined(await generate(bench.client, prompt, sampling)));
  return answers;
}

async function answersTogether(bench: Bench, requests: readonly Asked[]): Promise<unknown[]> {
  const all = await Promise.all(
    requests.map(({ prompt, sampling }) => generate(bench.client, prompt, sampling)),
  );
  bench.engine.checkInvariants();
  return all.map(joined);
}

describe("speculation", () => {
  const settings = { maxTokens: 12, temperature: 1, seed: 5n, logprobs: 2 };
  /** One draws the same token again and again, so that n-grams are right. */
  const same = {
    prompt: [1, 2],
    sampling: { maxTokens: 20, temperature: 0, logitBias: new Map([[5, 100]]) },
  };
  const requests = [same, ...cases.map((prompt) => ({ prompt, sampling: settings }))];

  for (const [name, numBlocks] of [
    ["n-gram", 128],
    ["n-gram with preemption", 16],
    ["a draft that is mostly right", 128],
    ["a draft with preemption", 16],
  ] as const) {
    test(`gives what plain decoding gives, by ${name}`, async () => {
      const expected = await answersAlone(startContextEngine({ numBlocks: 128 }), requests);
      const bench = startContextEngine({
        numBlocks,
        speculation: name.startsWith("n-gram") ? "ngram" : "draft",
      });
      expect(await answersTogether(bench, requests)).toEqual(expected);
      const { numDraftTokens, numAcceptedTokens, numPreemptions } = bench.engine.counters.read();
      expect(numDraftTokens).toBeGreaterThan(0);
      expect(numAcceptedTokens).toBeGreaterThan(0);
      expect(numPreemptions > 0).toBe(numBlocks === 16);
    });
  }

  test("counts guesses by position: none after the first wrong one is right", async () => {
    const bench = startContextEngine({ numBlocks: 128, speculation: "draft" });
    await answersTogether(bench, requests);
    const { numDrafts, numDraftTokens, numAcceptedTokens, numDraftTokensPerPos, numAcceptedTokensPerPos } =
      bench.engine.counters.read();
    const sum = (counts: readonly number[]): number => counts.reduce((total, count) => total + count, 0);
    expect(sum(numDraftTokensPerPos)).toBe(numDraftTokens);
    expect(sum(numAcceptedTokensPerPos)).toBe(numAcceptedTokens);
    expect(numDraftTokensPerPos[0]).toBe(numDrafts);
    expect([...numDraftTokensPerPos]).toEqual([...numDraftTokensPerPos].sort((a, b) => b - a));
    expect([...numAcceptedTokensPerPos]).toEqual([...numAcceptedTokensPerPos].sort((a, b) => b - a));
    // The draft model is wrong after every fourth token.
    expect(numAcceptedTokensPerPos[0]! / numDraftTokensPerPos[0]!).toBeGreaterThan(0.5);
    expect(numDraftTokensPerPos.slice(3)).toEqual(Array.from({ length: 13 }, () => 0));
  });

  test("counts a right guess as right when the sequence ends with it", async () => {
    const bench = startContextEngine({ speculation: "ngram" });
    // Draws 3 three times, then the end; the text before tells the same.
    const logitBias = new Map([
      [3, 50],
      [5, 100],
    ]);
    const sampling = { temperature: 0, maxTokens: 20, minTokens: 3, stopTokenIds: [5], logitBias };
    const outputs = await generate(bench.client, [9, 3, 3, 3, 5, 9], sampling);
    expect(idsOf(outputs)).toEqual([3, 3, 3, 5]);
    const { numDraftTokens, numAcceptedTokens } = bench.engine.counters.read();
    expect([numDraftTokens, numAcceptedTokens]).toEqual([3, 3]);
  });

  test("leaves each running sequence its place in the step", async () => {
    const bench = startContextEngine({
      numBlocks: 128,
      maxNumSeqs: 4,
      maxNumBatchedTokens: 6,
      speculation: "ngram",
    });
    await answersTogether(bench, [same, same, same, same]);
    const steps = bench.engine.recentSteps();
    const guessing = steps.filter(({ numTokens, active }) => numTokens > active.length);
    expect(guessing.length).toBeGreaterThan(3);
    // The first step has room for three prompts of two tokens; from then on all four run until one ends.
    const whole = steps.slice(
      1,
      steps.findIndex(({ left }) => left.length > 0),
    );
    expect(whole.length).toBeGreaterThan(5);
    for (const { active } of whole) expect(active.length).toBe(4);
  });

  test("leaves a long prompt all of the step but one token of each sequence that decodes", async () => {
    const long = { prompt: Array.from({ length: 40 }, (_, i) => 3 + (i % 7)), sampling: { maxTokens: 2 } };
    const bench = startContextEngine({
      numBlocks: 128,
      maxNumSeqs: 2,
      maxNumBatchedTokens: 11,
      speculation: "ngram",
    });
    await answersTogether(bench, [same, long]);
    const chunks = bench.engine.recentSteps().map(({ active }) => active[1]?.numTokens ?? 0);
    expect(chunks.slice(0, 4)).toEqual([9, 10, 10, 10]);
    expect(bench.engine.counters.read().numDraftTokens).toBeGreaterThan(0);
  });

  test("answers any requests as plain decoding does, in any engine, guessing always or where it pays", async () => {
    const token = fc.nat(vocabSize - 1);
    const request = fc.record({
      prompt: fc.oneof(
        fc.array(token, { minLength: 1, maxLength: 40 }),
        fc
          .tuple(fc.array(token, { minLength: 1, maxLength: 5 }), fc.integer({ min: 1, max: 8 }))
          .map(([ids, times]) => Array.from({ length: times }, () => ids).flat()),
      ),
      sampling: fc.record({
        maxTokens: fc.integer({ min: 1, max: 20 }),
        temperature: fc.constantFrom(0, 1),
        seed: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        logprobs: fc.constantFrom(null, 0, 3),
        ignoreEos: fc.boolean(),
        minTokens: fc.constantFrom(0, 1),
        stopTokenIds: fc.array(token, { maxLength: 2 }),
        logitBias: fc.constantFrom(
          null,
          new Map([
            [4, 3],
            [9, -2],
          ]),
        ),
        badWords: fc.array(fc.array(token, { minLength: 1, maxLength: 3 }), { maxLength: 2 }),
      }),
    });
    const setup = fc.record({
      numBlocks: fc.integer({ min: 16, max: 40 }),
      maxNumSeqs: fc.integer({ min: 1, max: 6 }),
      maxNumBatchedTokens: fc.integer({ min: 6, max: 40 }),
      longPrefillTokenThreshold: fc.constantFrom(0, 3),
      isPrefixCaching: fc.boolean(),
      speculation: fc.constantFrom("ngram", "draft"),
      isGuessingAlways: fc.boolean(),
      maxDrafts: fc.integer({ min: 1, max: 7 }),
      maxDraftLen: fc.integer({ min: 8, max: 64 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(request, { minLength: 1, maxLength: 8 }), setup, async (requests, some) => {
        const plain = startContextEngine({ numBlocks: 128, maxNumSeqs: 1, isPrefixCaching: false });
        const expected = await answersAlone(plain, requests);
        expect(await answersTogether(startContextEngine(some as object), requests)).toEqual(expected);
      }),
      { numRuns: 120 },
    );
  });
});

describe("a draft model", () => {
  test("catches up in pieces with a prompt three times as long as a step, and then guesses", async () => {
    const prompt = Array.from({ length: 48 }, (_, i) => (i * 7 + (i >> 3)) % vocabSize);
    const request = { prompt, sampling: { maxTokens: 16, temperature: 0, logprobs: 1 } };
    const expected = await answersAlone(startContextEngine(), [request]);
    const bench = startContextEngine({ maxNumBatchedTokens: 16, speculation: "draft" });
    const passes: number[] = [];
    bench.context.onDraft = (batch) => passes.push(batch.numTokens);
    expect(await answersTogether(bench, [request])).toEqual(expected);
    // 48 tokens of the prompt, then the first of the answer and the three that were drawn meanwhile.
    expect(passes.slice(0, 4)).toEqual([16, 16, 16, 4]);
    const { numDraftTokens, numAcceptedTokens } = bench.engine.counters.read();
    expect(numAcceptedTokens).toBeGreaterThan(4);
    expect(numAcceptedTokens / numDraftTokens).toBeGreaterThan(0.4);
    // What it has computed of its own right guesses is not computed again.
    expect(Math.max(...passes.slice(4))).toBeLessThanOrEqual(2);
  });

  test("computes a shared prefix once, and nothing again after a preemption but what was lost", async () => {
    const shared = Array.from({ length: 24 }, (_, i) => (i * 5 + (i >> 2)) % vocabSize);
    const bench = startContextEngine({ speculation: "draft" });
    let numPromptTokens = 0;
    bench.context.onDraft = (batch) => {
      for (let token = 0; token < batch.numTokens; token += 1)
        if (batch.positions[token]! < shared.length) numPromptTokens += 1;
    };
    const sampling = { maxTokens: 8, temperature: 0 };
    for (const last of [1, 2, 3]) await generate(bench.client, [...shared, last], sampling);
    expect(numPromptTokens).toBe(shared.length);
  });

  test("gets no further than its own longest context", async () => {
    const bench = startContextEngine({ speculation: "draft", maxDraftLen: 20 });
    let last = 0;
    bench.context.onDraft = (batch) => {
      last = Math.max(last, ...batch.positions.subarray(0, batch.numTokens));
    };
    const request = { prompt: [1, 2, 3], sampling: { maxTokens: 50, temperature: 0 } };
    const expected = await answersAlone(startContextEngine(), [request]);
    expect(await answersTogether(bench, [request])).toEqual(expected);
    expect(last).toBeGreaterThan(14);
    expect(last).toBeLessThan(20);
  });

  test("that breaks costs its guesses only: every request is answered as without", async () => {
    const emitWarning = vi.spyOn(process, "emitWarning").mockImplementation(() => {});
    const requests = prompts.map((prompt) => ({ prompt, sampling: { maxTokens: 12, temperature: 0 } }));
    const expected = await answersAlone(startContextEngine(), requests);
    const bench = startContextEngine({ speculation: "draft" });
    bench.context.onDraft = () => {
      throw new Error("no guess");
    };
    expect(await answersTogether(bench, requests)).toEqual(expected);
    expect(emitWarning).toHaveBeenCalledTimes(1);
    expect(bench.engine.counters.read().numSpeculationFailures).toBe(1);
    vi.restoreAllMocks();
  });
});
