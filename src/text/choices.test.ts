import { describe, expect, test } from "vitest";
import { createByteTokenizer } from "../../tests/byte-tokenizer.ts";
import { createFakeClient, type FakeScript } from "../protocol/fake-engine-client.ts";
import { defaultSampling, type SamplingParams } from "../protocol/sampling-params.ts";
import { type ChoiceDelta, createChoiceStream, samplingOfChoice } from "./choices.ts";

const tokenizer = createByteTokenizer();
const bytes = (text: string): number[] => [...new TextEncoder().encode(text)];
const sampling: SamplingParams = { ...defaultSampling, maxTokens: 50, seed: (1n << 64n) - 1n };
const request = {
  requestId: "c",
  promptTokenIds: bytes("p"),
  sampling,
  stop: [],
  includeStopInOutput: false,
  skipSpecialTokens: true,
};

/** Each seed has its own answer. */
const script: FakeScript = {
  reply: ({ sampling: { seed } }) => bytes(`answer ${seed} of ${"x".repeat(Number(seed! % 7n))}`),
};

describe("createChoiceStream", () => {
  test("gives what single requests with the seeds seed + i give, in order within an answer", async () => {
    const client = createFakeClient(script);
    const stream = createChoiceStream(client, tokenizer, request, 3);
    const texts = ["", "", ""];
    const ends: ChoiceDelta[] = [];
    for await (const item of stream) {
      texts[item.index] += item.delta.text;
      if (item.delta.finishReason !== null) ends.push(item);
    }
    expect(texts).toEqual([`answer ${(1n << 64n) - 1n} of x`, "answer 0 of ", "answer 1 of x"]);
    expect(new Set(ends.map(({ index }) => index))).toEqual(new Set([0, 1, 2]));
    expect(ends).toHaveLength(3);
    expect(client.requests.map(({ requestId }) => requestId)).toEqual(["c-0", "c-1", "c-2"]);
    expect(stream.usage.map(({ completionTokens }) => completionTokens)).toEqual(
      texts.map((text) => bytes(text).length + 1),
    );
    expect(client.abortedIds).toEqual([]);
  });

  test("leaves the seeds to the engine where the request brings none", () => {
    const unseeded = { ...sampling, seed: null };
    expect(samplingOfChoice(unseeded, 3)).toBe(unseeded);
  });

  test("aborts all answers when the reader leaves, also those that are silent", async () => {
    const hold: FakeScript["hold"] = ({ requestId }) =>
      requestId === "c-1" ? new Promise(() => {}) : undefined;
    const client = createFakeClient({ ...script, hold });
    for await (const { delta } of createChoiceStream(client, tokenizer, request, 3))
      if (delta.text !== "") break;
    expect([...client.abortedIds].sort()).toEqual(["c-0", "c-1", "c-2"]);
  });

  test("an error of one answer ends the others and is thrown", async () => {
    const fail: FakeScript["fail"] = ({ requestId }, index) =>
      requestId === "c-1" && index === 4 ? new Error("broken") : undefined;
    const client = createFakeClient({ ...script, fail });
    const read = async (): Promise<void> => {
      for await (const item of createChoiceStream(client, tokenizer, request, 2)) expect(item).toBeDefined();
    };
    await expect(read()).rejects.toThrow("broken");
    expect(client.abortedIds).toContain("c-0");
  });

  test("refuses several greedy answers, and counts that are none", () => {
    const client = createFakeClient();
    const start = (n: number, temperature: number) => (): unknown =>
      createChoiceStream(client, tokenizer, { ...request, sampling: { ...sampling, temperature } }, n);
    for (const n of [0, -1, 1.5, NaN]) expect(start(n, 1)).toThrow(expect.objectContaining({ param: "n" }));
    expect(start(2, 0)).toThrow("1 with temperature 0");
    expect(start(1, 0)).not.toThrow();
    expect(client.requests).toHaveLength(1);
  });
});
