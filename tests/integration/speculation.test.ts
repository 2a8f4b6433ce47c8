import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { defaultEngineOptions, type SpeculationOptions } from "../../src/engine/engine-options.ts";
import { createInProcessClient } from "../../src/engine/in-process-client.ts";
import { loadEngine } from "../../src/engine/load-engine.ts";
import { openCheckpoint } from "../../src/formats/open-checkpoint.ts";
import type { EngineClient } from "../../src/protocol/engine-client.ts";
import { defaultSampling, type SamplingParams } from "../../src/protocol/sampling-params.ts";
import { createChoiceStream } from "../../src/text/choices.ts";
import { createTokenizer } from "../../src/tokenizer/create-tokenizer.ts";
import type { Tokenizer } from "../../src/tokenizer/tokenizer.ts";
import { repositoryPath } from "../test-data.ts";

const modelPath = repositoryPath("models", "pebble", "model");
const draftPath = repositoryPath("models", "pebble", "draft");
const vocabSize = 2048;

/** What a request asks for in texts, as the HTTP interface would. */
interface Asked {
  readonly prompt: string;
  readonly n: number;
  readonly stop: readonly string[];
  readonly includeStopInOutput: boolean;
  readonly sampling: Partial<SamplingParams>;
}

const clients: Record<string, EngineClient> = {};
let tokenizer: Tokenizer;

async function open(speculation: SpeculationOptions | null, maxNumSeqs: number): Promise<EngineClient> {
  const options = {
    ...defaultEngineOptions(modelPath),
    numThreads: 1,
    maxModelLen: 128,
    maxNumSeqs,
    seed: 3,
    speculation,
  };
  return createInProcessClient(await loadEngine(options));
}

beforeAll(async () => {
  const checkpoint = openCheckpoint(modelPath);
  tokenizer = createTokenizer(checkpoint.tokenizer()!);
  checkpoint.close();
  clients["plain"] = await open(null, 1);
  clients["n-gram"] = await open({ numTokens: 5, draftPath: null, isAdaptive: false }, 4);
  clients["draft"] = await open({ numTokens: 4, draftPath, isAdaptive: false }, 4);
  clients["draft where it pays"] = await open({ numTokens: 4, draftPath }, 16);
});
afterAll(() => Promise.all(Object.values(clients).map((client) => client.close())));

let nextId = 0;

/** The n answers of a request: texts, tokens, bits of log-probabilities and how they ended. */
async function answersTo(client: EngineClient, asked: Asked): Promise<unknown> {
  nextId += 1;
  const request = {
    requestId: `r${nextId}`,
    promptTokenIds: tokenizer.encode(asked.prompt),
    sampling: { ...defaultSampling, maxTokens: 24, ...asked.sampling },
    stop: asked.stop,
    includeStopInOutput: asked.includeStopInOutput,
    skipSpecialTokens: true,
  };
  const stream = createChoiceStream(client, tokenizer, request, asked.n);
  const answers = Array.from({ length: asked.n }, () => ({
    text: "",
    tokenIds: [] as number[],
    logprobs: [] as unknown[],
    end: "",
  }));
  for await (const { index, delta } of stream) {
    const answer = answers[index]!;
    answer.text += delta.text;
    answer.tokenIds.push(...delta.tokenIds);
    answer.logprobs.push(...(delta.logprobs ?? []));
    if (delta.finishReason !== null) answer.end = `${delta.finishReason} ${delta.stopReason}`;
  }
  return { answers, numTokens: stream.usage.map(({ completionTokens }) => completionTokens) };
}

const id = fc.integer({ min: 10, max: vocabSize - 1 });
const prompts = [
  "A cat is an animal. A dog is an animal. A cow is",
  "one two three one two three one two three one two",
  "Question: what is larger, a house or a mouse? Answer:",
  "The river is long. The river is long. The river is",
  "x",
];
const requests = fc.record({
  prompt: fc.constantFrom(...prompts),
  n: fc.integer({ min: 1, max: 3 }),
  stop: fc.subarray([".", " is", "a", " the", "\n"], { maxLength: 2 }),
  includeStopInOutput: fc.boolean(),
  sampling: fc.record({
    temperature: fc.constantFrom(0.2, 0.7, 1, 1.5),
    topP: fc.constantFrom(1, 0.9, 0.5),
    topK: fc.constantFrom(0, 1, 20),
    minP: fc.constantFrom(0, 0.1),
    seed: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    maxTokens: fc.integer({ min: 1, max: 40 }),
    minTokens: fc.constantFrom(0, 1),
    ignoreEos: fc.boolean(),
    stopTokenIds: fc.array(id, { maxLength: 2 }),
    logprobs: fc.constantFrom(null, 0, 5),
    repetitionPenalty: fc.constantFrom(1, 1.2, 0.8),
    frequencyPenalty: fc.constantFrom(0, 0.5, -0.5),
    presencePenalty: fc.constantFrom(0, 0.7, -1),
    logitBias: fc.constantFrom(
      null,
      new Map([
        [40, 2],
        [41, -3],
      ]),
    ),
    badWords: fc.array(fc.array(id, { minLength: 1, maxLength: 2 }), { maxLength: 2 }),
    allowedTokenIds: fc.constantFrom(
      null,
      null,
      Array.from({ length: 50 }, (_, at) => 100 + at),
    ),
  }),
});

test("answers are the same with guesses as without, whatever is asked, and guesses are right", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(requests, { minLength: 1, maxLength: 5 }), async (some) => {
      const expected: unknown[] = [];
      for (const asked of some) expected.push(await answersTo(clients["plain"]!, asked));
      for (const [name, client] of Object.entries(clients)) {
        if (name === "plain") continue;
        const got = await Promise.all(some.map((asked) => answersTo(client, asked)));
        expect(got, name).toEqual(expected);
      }
    }),
    { numRuns: 25 },
  );
  for (const name of ["n-gram", "draft"]) {
    const { numDraftTokens, numAcceptedTokens } = await clients[name]!.stats();
    expect(numDraftTokens, name).toBeGreaterThan(100);
    expect(numAcceptedTokens, name).toBeGreaterThan(20);
  }
}, 120_000);

test("greedy answers as well", async () => {
  for (const prompt of prompts) {
    const asked = {
      prompt,
      n: 1,
      stop: [" is"],
      includeStopInOutput: false,
      sampling: { temperature: 0, logprobs: 3 },
    };
    const expected = await answersTo(clients["plain"]!, asked);
    for (const client of Object.values(clients)) expect(await answersTo(client, asked)).toEqual(expected);
  }
});
