import { afterAll, describe, expect, test } from "vitest";
import { writeRandomModel } from "../../tests/random-model.ts";
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

async function answer(client: EngineClient, index: number, maxTokens = 12): Promise<unknown[]> {
  const { promptTokenIds, sampling } = requests[index]!;
  const request = { requestId: `r${index}`, promptTokenIds, sampling: { ...sampling, maxTokens } };
  const outputs: EngineOutput[] = [];
  for await (const output of client.generate(request)) outputs.push(output);
  return outputs;
}

const together = (client: EngineClient): Promise<unknown[][]> =>
  Promise.all(requests.map((_, index) => answer(client, index)));

async function alone(client: EngineClient): Promise<unknown[][]> {
  const answers: unknown[][] = [];
  for (const index of requests.keys()) answers.push(await answer(client, index));
  return answers;
}

const score = (client: EngineClient): Promise<unknown> =>
  client.score({ tokenIds: requests[7]!.promptTokenIds, start: 1, topK: 4 });

describe("same request, same bytes: token ids and logprob bits", () => {
  test("alone and in a batch", async () => {
    const expected = await withEngine({}, alone);
    expect(await withEngine({}, together)).toEqual(expected);
  });

  test("after preemption", async () => {
    const long = (client: EngineClient): Promise<unknown[][]> =>
      Promise.all([0, 1, 2].map((index) => answer(client, index, 80)));
    const expected = await withEngine({}, long);
    const preempted = await withEngine({ maxModelLen: 128, numKvBlocks: 7 }, async (client) => {
      const answers = await long(client);
      expect((await client.stats()).numPreemptions).toBeGreaterThan(0);
      return answers;
    });
    expect(preempted).toEqual(expected);
  });

  test("chunked at every size", async () => {
    const expected = await withEngine({}, (client) => answer(client, 7));
    for (const chunk of [1, 3, 7, 16, 33]) {
      const options = { maxNumSeqs: 1, maxNumBatchedTokens: chunk };
      expect(await withEngine(options, (client) => answer(client, 7)), `chunks of ${chunk}`).toEqual(
        expected,
      );
    }
  });

  test("scored at once, in chunks and beside generation", async () => {
    const expected = await withEngine({}, score);
    for (const longPrefillTokenThreshold of [1, 7, 32]) {
      const mixed = await withEngine({ longPrefillTokenThreshold }, async (client) => {
        const [result] = await Promise.all([score(client), together(client)]);
        return result;
      });
      expect(mixed).toEqual(expected);
    }
  });

  test("on one thread and on two", async () => {
    const one = await withEngine({ numThreads: 1 }, together);
    expect(await withEngine({ numThreads: 2 }, together)).toEqual(one);
  });

  test("in a worker thread", async () => {
    const expected = await withEngine({}, together);
    const client = await startEngineWorker(base);
    try {
      expect(await together(client)).toEqual(expected);
      expect(await score(client)).toEqual(await withEngine({}, score));
    } finally {
      await client.close();
    }
  });
});
