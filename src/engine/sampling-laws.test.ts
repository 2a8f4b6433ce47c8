import { afterAll, expect, test } from "vitest";
import { answerContent } from "../../tests/answer-content.ts";
import { writeRandomModel } from "../../tests/random-model.ts";
import type { EngineClient, EngineOutput } from "../protocol/engine-client.ts";
import { defaultSampling, type SamplingParams } from "../protocol/sampling-params.ts";
import { defaultEngineOptions, type EngineOptions } from "./engine-options.ts";
import { createInProcessClient } from "./in-process-client.ts";
import { loadEngine } from "./load-engine.ts";

// The first law for requests that change their logits: what they draw depends on their own tokens only.

const model = writeRandomModel();
afterAll(() => model.remove());

const options: EngineOptions = {
  ...defaultEngineOptions(model.path),
  maxModelLen: 128,
  maxNumSeqs: 8,
  maxNumBatchedTokens: 64,
  seed: 1,
};

const changes: readonly Partial<SamplingParams>[] = [
  { repetitionPenalty: 1.3 },
  { frequencyPenalty: 0.8, presencePenalty: 0.4, temperature: 1 },
  { repetitionPenalty: 0.7, presencePenalty: -1, temperature: 0.7, topP: 0.9 },
  { allowedTokenIds: [5, 6, 7, 80, 81, 200], temperature: 1 },
  {
    badWords: [[10], [11, 11]],
    logitBias: new Map([
      [10, 3000],
      [11, 2000],
      [12, 1000],
    ]),
  },
  { minTokens: 20, ignoreEos: false, temperature: 1 },
  {},
];

const requests = changes.map((change, index) => ({
  promptTokenIds: Array.from({ length: 4 + index * 7 }, (_, j) => 5 + ((index * 131 + j * 37) % 300)),
  sampling: {
    ...defaultSampling,
    maxTokens: 60,
    ignoreEos: true,
    logprobs: 2,
    temperature: 0,
    seed: 7n,
    ...change,
  },
}));

async function answer(client: EngineClient, index: number): Promise<EngineOutput[]> {
  const outputs: EngineOutput[] = [];
  const { promptTokenIds, sampling } = requests[index]!;
  for await (const output of client.generate({ requestId: `r${index}`, promptTokenIds, sampling })) {
    outputs.push(output);
  }
  return outputs;
}

async function together(
  change: Partial<EngineOptions>,
): Promise<{ outputs: EngineOutput[][]; preempted: number }> {
  const client = createInProcessClient(await loadEngine({ ...options, ...change }));
  try {
    const outputs = await Promise.all(requests.map((_, index) => answer(client, index)));
    return { outputs, preempted: (await client.stats()).numPreemptions };
  } finally {
    await client.close();
  }
}

const idsOf = (outputs: EngineOutput[]): number[] => outputs.flatMap(({ newTokenIds }) => [...newTokenIds]);

test("the same tokens and logprob bits alone, in a batch, in small chunks and after preemption", async () => {
  const client = createInProcessClient(await loadEngine(options));
  const alone: EngineOutput[][] = [];
  for (const index of requests.keys()) alone.push(await answer(client, index));
  await client.close();
  expect((await together({})).outputs.map(answerContent)).toEqual(alone.map(answerContent));
  const chunked = await together({ maxNumBatchedTokens: 9 });
  expect(chunked.outputs.map(answerContent)).toEqual(alone.map(answerContent));
  const tight = await together({ numKvBlocks: 7 });
  expect(tight.preempted).toBeGreaterThan(0);
  expect(tight.outputs.map(answerContent)).toEqual(alone.map(answerContent));
  const [, , , allowed, worded] = alone.map(idsOf);
  expect([5, 6, 7, 80, 81, 200]).toEqual(expect.arrayContaining([...new Set(allowed)]));
  // 10 has the largest bias but is a bad word; 11 comes next, but not twice running.
  expect(worded!.slice(0, 5)).toEqual([11, 12, 11, 12, 11]);
});

test("constraints that leave no token end that request, and only that one", async () => {
  const client = createInProcessClient(await loadEngine(options));
  const eos = client.info.eosTokenIds[0]!;
  const impossible: SamplingParams = { ...defaultSampling, allowedTokenIds: [eos], minTokens: 3 };
  const run = async (sampling: SamplingParams, requestId: string): Promise<number[]> => {
    const outputs: EngineOutput[] = [];
    for await (const output of client.generate({ requestId, promptTokenIds: [5, 6], sampling }))
      outputs.push(output);
    return idsOf(outputs);
  };
  const [bad, good] = await Promise.allSettled([
    run(impossible, "a"),
    run({ ...defaultSampling, seed: 1n }, "b"),
  ]);
  expect(bad).toMatchObject({ status: "rejected" });
  expect(good).toMatchObject({ status: "fulfilled" });
  await client.close();
});
