import { expect, test } from "vitest";
import { createFakeClient } from "../protocol/fake-engine-client.ts";
import { scorePrompt } from "./prompt-logprobs.ts";

test("gives null for the first token and the engine's numbers for the others, with ranks from the top", async () => {
  const client = createFakeClient({
    score: () => ({
      logprobs: Float32Array.of(-0.5, -3),
      argmax: Int32Array.of(7, 1),
      topIds: Int32Array.of(7, 8, 1, 2),
      topLogprobs: Float32Array.of(-0.5, -1, -0.25, -2),
    }),
  });
  expect(await scorePrompt(client, [4, 7, 9], 2)).toEqual([
    null,
    { tokenId: 7, logprob: -0.5, rank: 1, topIds: [7, 8], topLogprobs: [-0.5, -1] },
    { tokenId: 9, logprob: -3, rank: null, topIds: [1, 2], topLogprobs: [-0.25, -2] },
  ]);
  expect(client.scoreRequests).toEqual([{ tokenIds: [4, 7, 9], start: 1, topK: 2 }]);
});

test("asks the engine nothing where there is nothing to score", async () => {
  const client = createFakeClient();
  expect(await scorePrompt(client, [3], 5)).toEqual([null]);
  expect(await scorePrompt(client, [], 5)).toEqual([]);
  expect(client.scoreRequests).toEqual([]);
});
