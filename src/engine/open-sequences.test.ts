import { expect, test, vi } from "vitest";
import { generate, greedy, idsOf, startContextEngine } from "../../tests/context-engine.ts";
import type { SamplingParams } from "../protocol/sampling-params.ts";
import { ScoreTable } from "./score-table.ts";

/** A request as JavaScript may write it, whatever the types say. */
const untyped = (sampling: Record<string, unknown>): Partial<SamplingParams> => sampling;

test("a seed that is no bigint is refused by name, and the engine goes on", async () => {
  const { client, engine } = startContextEngine();
  await expect(generate(client, [1], untyped({ seed: 7 }))).rejects.toMatchObject({
    code: "invalid_request",
    param: "seed",
    message:
      "seed is 7; it takes a whole number from 0 to 2^64 − 1, as a bigint such as 7n. Change it or leave it out.",
  });
  expect(idsOf(await generate(client, [1, 2], { maxTokens: 3, seed: 7n }))).toEqual(greedy([1, 2], 3));
  engine.checkInvariants();
});

test("a request that cannot be taken in gives its row back, and the engine goes on", async () => {
  const { client, engine } = startContextEngine();
  // It has a length and ids, so that the checks pass, but cannot be iterated.
  const stopTokenIds = { length: 1, 0: 3 };
  await expect(generate(client, [1], untyped({ minTokens: 1, stopTokenIds }))).rejects.toThrow("iterable");
  expect(idsOf(await generate(client, [1, 2], { maxTokens: 3 }))).toEqual(greedy([1, 2], 3));
  engine.checkInvariants();
});

test("so does a score whose result does not fit into memory", async () => {
  const { client, engine } = startContextEngine();
  const failure = new RangeError("Array buffer allocation failed");
  const admit = vi.spyOn(ScoreTable.prototype, "admit").mockImplementationOnce(() => {
    throw failure;
  });
  const request = { tokenIds: [1, 2, 3], start: 1, topK: 0 };
  await expect(client.score(request)).rejects.toBe(failure);
  admit.mockRestore();
  expect((await client.score(request)).logprobs).toHaveLength(2);
  engine.checkInvariants();
});
