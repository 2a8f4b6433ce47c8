import { afterAll, describe, expect, test } from "vitest";
import { answerContent } from "../../tests/answer-content.ts";
import { writeRandomModel } from "../../tests/random-model.ts";
import { hasTestData, missingDataMark, testData, tinyFamilies } from "../../tests/test-data.ts";
import { nativeStatus } from "../kernels/create-ops.ts";
import type { EngineClient, EngineOutput } from "../protocol/engine-client.ts";
import { defaultSampling, type SamplingParams } from "../protocol/sampling-params.ts";
import { defaultEngineOptions, type EngineOptions } from "./engine-options.ts";
import { createInProcessClient } from "./in-process-client.ts";
import { loadEngine } from "./load-engine.ts";
import { startEngineWorker } from "./worker-client.ts";

// The first law: same request, same bytes, whatever runs beside it. With real kernels.

const model = writeRandomModel();
afterAll(() => model.remove());

const base: EngineOptions = {
  ...defaultEngineOptions(model.path),
  maxModelLen: 256,
  maxNumSeqs: 16,
  maxNumBatchedTokens: 128,
  seed: 1,
};

/** Eight requests of different length, greedy and sampled in turn, all with log-probabilities. */
const requests = Array.from({ length: 8 }, (_, index) => ({
  promptTokenIds: Array.from({ length: 2 + index * 9 }, (_, j) => 5 + ((index * 131 + j * 37) % 300)),
  sampling: {
    ...defaultSampling,
    ignoreEos: true,
    temperature: index % 2,
    topP: 0.95,
    seed: BigInt(index),
    logprobs: 3,
  } satisfies SamplingParams,
}));

/** Each instruction set of this machine, or the reference backend where there is none. */
const { available, isas } = nativeStatus();
const kernels: readonly Partial<EngineOptions>[] = available
  ? isas.map((isa) => ({ isa }))
  : [{ backend: "reference" }];

const randomWeights: Record<string, Partial<EngineOptions>> = {
  bf16: {},
  "f32 activations": { activations: "f32" },
  "int8 KV cache": { kvCacheDtype: "int8" },
};
const storedWeights: Record<string, Partial<EngineOptions>> = {
  w8a8: { modelPath: testData("models", "compressed-tensors", "w8a8") },
  w4a16: { modelPath: testData("models", "compressed-tensors", "w4a16-g32") },
};

function variants(weights: Record<string, Partial<EngineOptions>>): [string, Partial<EngineOptions>][] {
  return kernels.flatMap((kernel) =>
    Object.entries(weights).map(([name, options]): [string, Partial<EngineOptions>] => [
      `${kernel.isa ?? kernel.backend}, ${name}`,
      { ...kernel, ...options },
    ]),
  );
}

async function withEngine<T>(
  options: Partial<EngineOptions>,
  use: (client: EngineClient) => Promise<T>,
): Promise<T> {
  const engine = await loadEngine({ ...base, ...options });
  const client = createInProcessClient(engine);
  try {
    const result = await use(client);
    engine.checkInvariants();
    return result;
  } finally {
    await client.close();
  }
}

async function answer(client: EngineClient, index: number, maxTokens = 12): Promise<unknown> {
  const { promptTokenIds, sampling } = requests[index]!;
  const request = { requestId: `r${index}`, promptTokenIds, sampling: { ...sampling, maxTokens } };
  const outputs: EngineOutput[] = [];
  for await (const output of client.generate(request)) outputs.push(output);
  return answerContent(outputs);
}

const together = (client: EngineClient): Promise<unknown[]> =>
  Promise.all(requests.map((_, index) => answer(client, index)));

async function alone(client: EngineClient): Promise<unknown[]> {
  const answers: unknown[] = [];
  for (const index of requests.keys()) answers.push(await answer(client, index));
  return answers;
}

const score = (client: EngineClient): Promise<unknown> =>
  client.score({ tokenIds: requests[7]!.promptTokenIds, start: 1, topK: 4 });

/** The laws that hang on kernels and layers, in one test: cheap enough for every family. */
async function expectSameBytes(variant: Partial<EngineOptions>): Promise<void> {
  const expected = await withEngine({ ...variant, numThreads: 1 }, alone);
  expect(await withEngine({ ...variant, numThreads: 2 }, together)).toEqual(expected);
  for (const chunk of [1, 7, 33]) {
    const options = { ...variant, maxNumSeqs: 1, maxNumBatchedTokens: chunk };
    const chunked = await withEngine(options, (client) => answer(client, 7));
    expect(chunked, `chunks of ${chunk}`).toEqual(expected[7]);
  }
  const scored = await withEngine(variant, score);
  expect(await withEngine({ ...variant, longPrefillTokenThreshold: 7 }, score)).toEqual(scored);
}

function laws(variant: Partial<EngineOptions>): void {
  test("alone and in a batch", async () => {
    const expected = await withEngine(variant, alone);
    expect(await withEngine(variant, together)).toEqual(expected);
  });

  test("after preemption", async () => {
    const long = (client: EngineClient): Promise<unknown[]> =>
      Promise.all([0, 1, 2].map((index) => answer(client, index, 80)));
    const expected = await withEngine(variant, long);
    const preempted = await withEngine({ ...variant, maxModelLen: 128, numKvBlocks: 7 }, async (client) => {
      const answers = await long(client);
      expect((await client.stats()).numPreemptions).toBeGreaterThan(0);
      return answers;
    });
    expect(preempted).toEqual(expected);
  });

  test("chunked at every size", async () => {
    const expected = await withEngine(variant, (client) => answer(client, 7));
    for (const chunk of [1, 3, 7, 16, 33]) {
      const options = { ...variant, maxNumSeqs: 1, maxNumBatchedTokens: chunk };
      expect(await withEngine(options, (client) => answer(client, 7)), `chunks of ${chunk}`).toEqual(
        expected,
      );
    }
  });

  test("scored at once, in chunks and beside generation", async () => {
    const expected = await withEngine(variant, score);
    for (const longPrefillTokenThreshold of [1, 7, 32]) {
      const mixed = await withEngine({ ...variant, longPrefillTokenThreshold }, async (client) => {
        const [result] = await Promise.all([score(client), together(client)]);
        return result;
      });
      expect(mixed).toEqual(expected);
    }
  });

  test("on one thread and on two", async () => {
    const one = await withEngine({ ...variant, numThreads: 1 }, together);
    expect(await withEngine({ ...variant, numThreads: 2 }, together)).toEqual(one);
  });

  test("in a worker thread", async () => {
    const expected = await withEngine(variant, together);
    const client = await startEngineWorker({ ...base, ...variant });
    try {
      expect(await together(client)).toEqual(expected);
      expect(await score(client)).toEqual(await withEngine(variant, score));
    } finally {
      await client.close();
    }
  });
}

describe.each(variants(randomWeights))(
  "same request, same bytes: token ids and logprob bits (%s)",
  (_, variant) => laws(variant),
);

describe.skipIf(!hasTestData).each(variants(storedWeights))(
  `same request, same bytes (%s)${missingDataMark}`,
  (_, variant) => laws(variant),
);

describe.skipIf(!hasTestData).each(kernels)(
  `same request, same bytes in every family (%o)${missingDataMark}`,
  (kernel) => {
    test.each(tinyFamilies)(
      "%s, alone, together, chunked and scored, on one thread and two",
      async (family) => {
        await expectSameBytes({ ...kernel, modelPath: testData("models", "tiny", family) });
      },
    );
  },
);
