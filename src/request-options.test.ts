import { describe, expect, test } from "vitest";
import { createByteTokenizer } from "../tests/byte-tokenizer.ts";
import { writeRandomModel } from "../tests/random-model.ts";
import { MillraceError } from "./base/errors.ts";
import { Engine } from "./embedded-engine.ts";
import { defaultEngineOptions } from "./engine/engine-options.ts";
import { startEngineWorker } from "./engine/worker-client.ts";
import { createFakeClient } from "./protocol/fake-engine-client.ts";
import { defaultSampling } from "./protocol/sampling-params.ts";
import type { Prompt, TextOptions } from "./request-options.ts";

const client = createFakeClient();
const engine = new Engine(client, createByteTokenizer());

async function refusalOf(prompt: unknown, options: Record<string, unknown> = {}) {
  const error: unknown = await engine.complete(prompt as Prompt, options as TextOptions).then(
    () => null,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(MillraceError);
  const { code, param, message } = error as MillraceError;
  expect(code).toBe("invalid_request");
  return `${param}: ${message}`;
}

describe("what a request must not hold is refused before it is sent", () => {
  test("a prompt that is neither text nor token ids", async () => {
    expect(await refusalOf([1.5])).toBe(
      "prompt[0]: prompt[0] is 1.5; it takes a token id, which is a whole number from 0. Change it.",
    );
    for (const ids of [
      [1, Number.NaN],
      [1, "x"],
      [1, -1],
    ])
      expect(await refusalOf(ids)).toMatch(/^prompt\[1\]: /);
    for (const prompt of [5, null, new Float32Array(2), {}])
      expect(await refusalOf(prompt)).toMatch(
        /^prompt: .*; it takes a text, a list of token ids or an Int32Array/,
      );
    expect(() => engine.generateTokens("text" as unknown as number[])).toThrow(
      /'text'; it takes a list of token ids/,
    );
    expect(() => engine.chat([{ content: "x" }] as never)).toThrow(
      "messages[0].role is undefined; it takes a text",
    );
  });

  test("a name that is not known", async () => {
    expect(await refusalOf("p", { max_tokens: 3 })).toMatch(
      /^max_tokens: There is no option max_tokens. A request takes maxTokens, /,
    );
    expect(await refusalOf("p", { scheduling: { prio: 3 } })).toMatch(
      /^scheduling.prio: There is no option scheduling.prio. scheduling takes priority, tenant,/,
    );
    expect(() => engine.generateTokens([1], { stop: ["x"] } as never)).toThrow("There is no option stop");
    await expect(engine.score("ab", { maxTokens: 1 } as never)).rejects.toThrow("no option maxTokens");
  });

  test("a value of another type", async () => {
    expect(await refusalOf("p", { stop: [""] })).toMatch(
      /^stop\[0\]: .* is ''; it takes a list of texts that are not/,
    );
    expect(await refusalOf("p", { stop: "cat" })).toMatch(/^stop: stop is 'cat'; it takes a list of texts/);
    expect(await refusalOf("p", { logitBias: { 5: 3 } })).toMatch(
      /^logitBias: .*\{ '5': 3 \}; it takes a Map from/,
    );
    expect(await refusalOf("p", { temperature: "1" })).toMatch(
      /^temperature: temperature is '1'; it takes a number/,
    );
    expect(await refusalOf("p", { seed: 7 })).toMatch(
      /^seed: seed is 7; it takes a bigint such as 7n, or null/,
    );
    const wrong: Record<string, unknown> = {
      maxTokens: null,
      topP: Number.NaN,
      stopTokenIds: 3,
      ignoreEos: 1,
      logprobs: true,
      badWords: ["cat"],
      allowedTokenIds: "1",
      skipSpecialTokens: "no",
      signal: 3,
      requestId: 4,
      scheduling: null,
    };
    for (const [name, value] of Object.entries(wrong))
      expect(await refusalOf("p", { [name]: value })).toMatch(
        new RegExp(`^${name}: ${name} is .*; it takes`),
      );
    expect(client.requests).toHaveLength(0);
    await expect(
      engine.complete("p", { maxTokens: undefined, signal: undefined } as never),
    ).resolves.toBeDefined();
  });
});

test("ranges that the engine knows are told in the names of the options, and other requests go on", async () => {
  const model = writeRandomModel();
  const real = await Engine.load(model.path, { maxModelLen: 64, numKvBlocks: 4 });
  const draw = async (options: TextOptions) => {
    const ids: number[] = [];
    for await (const { newTokenIds } of real.generateTokens([5, 6], options)) ids.push(...newTokenIds);
    return ids;
  };
  try {
    await expect(draw({ maxTokens: 0 })).rejects.toMatchObject({
      code: "invalid_request",
      param: "maxTokens",
      message: expect.stringMatching(/^maxTokens is 0; it takes a whole number from 1/),
    });
    await expect(draw({ scheduling: { deadlineMs: -1 } })).rejects.toMatchObject({
      param: "scheduling.deadlineMs",
    });
    await expect(draw({ maxTokens: 100 })).rejects.toThrow("start with maxModelLen 102 or larger");
    expect(await draw({ maxTokens: 3, temperature: 0, ignoreEos: true })).toHaveLength(3);
  } finally {
    await real.close();
    model.remove();
  }
});

test("the engine's client turns no prompt into another", async () => {
  const model = writeRandomModel();
  const worker = await startEngineWorker({
    ...defaultEngineOptions(model.path),
    maxModelLen: 64,
    numKvBlocks: 4,
  });
  const ids = async (promptTokenIds: number[], more: object = {}) => {
    const sampling = { ...defaultSampling, maxTokens: 2, ignoreEos: true, ...more };
    const drawn: number[] = [];
    for await (const output of worker.generate({ requestId: "r", promptTokenIds, sampling }))
      drawn.push(...output.newTokenIds);
    return drawn;
  };
  try {
    await expect(ids([1.5])).rejects.toMatchObject({ code: "invalid_request", param: "prompt" });
    await expect(worker.score({ tokenIds: [1, 2.5], start: 1, topK: 0 })).rejects.toThrow(
      "Token 1 of tokenIds is 2.5",
    );
    // What cannot be sent to the engine's thread ends this request only, and its id is free again.
    await expect(ids([1], { stopTokenIds: () => 1 })).rejects.toThrow("could not be cloned");
    expect(await ids([1])).toHaveLength(2);
  } finally {
    await worker.close();
    model.remove();
  }
});
