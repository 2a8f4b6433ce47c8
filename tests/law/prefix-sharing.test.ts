import { describe, expect, test } from "vitest";
import { defaultEngineOptions } from "../../src/engine/engine-options.ts";
import { createInProcessClient } from "../../src/engine/in-process-client.ts";
import { loadEngine } from "../../src/engine/load-engine.ts";
import type { EngineClient } from "../../src/protocol/engine-client.ts";
import { defaultSampling } from "../../src/protocol/sampling-params.ts";
import { hasTestData, missingDataMark } from "../test-data.ts";
import { type Answer, answer } from "./answer.ts";
import { createRandom } from "./covering-array.ts";
import { type LawModel, pebble, smollm2 } from "./law-settings.ts";
import { differences } from "./run-setting.ts";

// Requests with one system prompt that arrive together compute it once.

const numRequests = 32;
/** Not a multiple of the block size: the last four tokens come by a copy within a block. */
const systemLength = 900;
const ownLength = (index: number): number => 4 + (index % 5);

function requestOf(index: number, vocabSize: number): Parameters<typeof answer>[2] {
  const system = createRandom(1);
  const own = createRandom(100 + index);
  const draw = (random: () => number): number => 10 + Math.floor(random() * (vocabSize - 10));
  return {
    promptTokenIds: [
      ...Array.from({ length: systemLength }, () => draw(system)),
      ...Array.from({ length: ownLength(index) }, () => draw(own)),
    ],
    sampling: { ...defaultSampling, maxTokens: 3, ignoreEos: true, logprobs: 2, seed: BigInt(index) },
  };
}

async function withClient<T>(
  model: LawModel,
  enablePrefixCaching: boolean,
  use: (client: EngineClient) => Promise<T>,
): Promise<T> {
  const options = { maxModelLen: 1024, maxNumSeqs: numRequests, seed: 1, enablePrefixCaching };
  const client = createInProcessClient(await loadEngine({ ...defaultEngineOptions(model.path), ...options }));
  try {
    return await use(client);
  } finally {
    await client.close();
  }
}

/** A few requests without the cache: what the same ones must give with it. */
const checked = [0, 1, 31];

function computesOnce(model: LawModel): void {
  test(`${numRequests} requests with ${systemLength} tokens in common compute them once, and the text is the same`, async () => {
    const expected = await withClient(model, false, async (client) => {
      const answers: Answer[] = [];
      for (const index of checked)
        answers.push(await answer(client, `r${index}`, requestOf(index, client.info.vocabSize)));
      return answers;
    });
    await withClient(model, true, async (client) => {
      const numOwn = Array.from({ length: numRequests }, (_, index) => ownLength(index)).reduce(
        (sum, length) => sum + length,
      );
      let numComputedBefore = 0;
      for (const [turn, most] of [systemLength + numOwn, numRequests].entries()) {
        const answers = await Promise.all(
          Array.from({ length: numRequests }, (_, index) =>
            answer(client, `${turn}.${index}`, requestOf(index, client.info.vocabSize)),
          ),
        );
        const { prefixCacheQueries, prefixCacheHits } = await client.stats();
        expect(prefixCacheQueries).toBe((turn + 1) * (numRequests * systemLength + numOwn));
        const numComputed = prefixCacheQueries - prefixCacheHits;
        // The second time all but each prompt's last token is known.
        expect(numComputed - numComputedBefore, "prompt tokens computed").toBeLessThanOrEqual(most);
        // Independent of those counters: what the steps computed, by each request's own trace.
        const numStepTokens = answers.reduce((sum, { trace }) => sum + trace.numChunkTokens, 0);
        expect(numStepTokens).toBe(numComputed - numComputedBefore);
        numComputedBefore = numComputed;
        expect(
          differences(
            expected,
            checked.map((index) => answers[index]!),
          ),
        ).toEqual([]);
      }
    });
  });
}

describe("a shared prefix: pebble", () => computesOnce(pebble));

describe.skipIf(!hasTestData)(`a shared prefix: SmolLM2-135M${missingDataMark}`, () => computesOnce(smollm2));
