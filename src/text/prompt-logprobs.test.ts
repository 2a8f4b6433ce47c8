import { expect, test } from "vitest";
import { createFakeClient } from "../protocol/fake-engine-client.ts";
import { scorePrompt, scorePrompts } from "./prompt-logprobs.ts";

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

test("scores several prompts at once, under the same terms", async () => {
  const client = createFakeClient();
  const scheduling = { tenant: "a" };
  const scores = await scorePrompts(client, [[4, 7], [5], [6, 8, 9]], 0, { scheduling });
  expect(scores.map((prompt) => prompt.map((token) => token?.tokenId ?? null))).toEqual([
    [null, 7],
    [null],
    [null, 8, 9],
  ]);
  expect(client.scoreRequests.map((request) => request.scheduling)).toEqual([scheduling, scheduling]);
});

test("a signal ends all, and the first failure ends the others", async () => {
  const reason = new Error("enough");
  const waiting = createFakeClient({ score: () => new Promise(() => {}) });
  const leaving = new AbortController();
  const scores = scorePrompts(
    waiting,
    [
      [1, 2],
      [3, 4],
    ],
    0,
    { signal: leaving.signal },
  );
  leaving.abort(reason);
  await expect(scores).rejects.toBe(reason);
  await expect(scorePrompt(waiting, [1, 2], 0, { signal: leaving.signal })).rejects.toBe(reason);
  expect(waiting).toMatchObject({ numAbortedScores: 2, scoreRequests: [{}, {}] });
  const failing = createFakeClient({
    score: ({ tokenIds }) => (tokenIds[0] === 1 ? Promise.reject(reason) : new Promise(() => {})),
  });
  await expect(
    scorePrompts(
      failing,
      [
        [3, 4],
        [1, 2],
      ],
      0,
    ),
  ).rejects.toBe(reason);
  expect(failing.numAbortedScores).toBe(1);
});

test("asks the engine nothing where there is nothing to score", async () => {
  const client = createFakeClient();
  expect(await scorePrompt(client, [3], 5)).toEqual([null]);
  expect(await scorePrompt(client, [], 5)).toEqual([]);
  expect(client.scoreRequests).toEqual([]);
});
