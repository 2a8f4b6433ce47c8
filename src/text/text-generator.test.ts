import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createFakeClient, type FakeScript, fakeEosTokenId } from "../protocol/fake-engine-client.ts";
import { defaultSampling } from "../protocol/sampling-params.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { StopMatcher } from "./stop-matcher.ts";
import { createTextStream, type TextStreamRequest } from "./text-generator.ts";
import type { TextDelta } from "./text-stream.ts";

/** Tokens are runs of bytes, so any cut of a text, also within a character, can be a token sequence. */
function createPieceTokenizer(pieces: readonly Uint8Array[]): Tokenizer {
  const stream = (): ReturnType<Tokenizer["stream"]> => {
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    return {
      push: (id) => (id === fakeEosTokenId ? "</s>" : decoder.decode(pieces[id], { stream: true })),
      flush: () => decoder.decode(),
    };
  };
  return { vocabSize: pieces.length, stream } as unknown as Tokenizer;
}

interface Run {
  readonly text: string;
  readonly deltas: TextDelta[];
  readonly abortedIds: readonly string[];
  readonly usage: unknown;
}

async function run(
  pieces: Uint8Array[],
  request: Partial<TextStreamRequest>,
  script: FakeScript = {},
): Promise<Run> {
  const client = createFakeClient({ reply: () => pieces.map((_, id) => id), ...script });
  const stream = createTextStream(client, createPieceTokenizer(pieces), {
    requestId: "t",
    promptTokenIds: [1, 2, 3],
    sampling: { ...defaultSampling, maxTokens: 500 },
    stop: [],
    includeStopInOutput: false,
    skipSpecialTokens: true,
    ...request,
  });
  const deltas: TextDelta[] = [];
  for await (const delta of stream) deltas.push(delta);
  const text = deltas.map((d) => d.text).join("");
  return { text, deltas, abortedIds: client.abortedIds, usage: stream.usage };
}

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Cuts bytes at the given places. */
function cut(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const edges = [...new Set([0, ...places.map((p) => p % (bytes.length + 1)), bytes.length])].sort(
    (a, b) => a - b,
  );
  return edges.slice(1).map((end, index) => bytes.slice(edges[index], end));
}

/** The naive answer: grow the text by one character until a stop is complete. */
function expectedText(
  whole: string,
  stops: readonly string[],
  include: boolean,
): { text: string; stop: string | null } {
  const longestFirst = [...stops].sort((a, b) => b.length - a.length);
  for (let end = 0; end <= whole.length; end += 1) {
    const stop = longestFirst.find((s) => whole.slice(0, end).endsWith(s));
    if (stop !== undefined) return { text: whole.slice(0, include ? end : end - stop.length), stop };
  }
  return { text: whole, stop: null };
}

const letters = fc.constantFrom("a", "b", "c", "é", "世", "🙂", "\n");
const words = fc.array(letters, { maxLength: 24 }).map((all) => all.join(""));
const stops = fc.array(
  fc.array(letters, { minLength: 1, maxLength: 4 }).map((all) => all.join("")),
  { maxLength: 3 },
);

describe("createTextStream", () => {
  test("the deltas are the whole text cut at the stop, for every cut into tokens and outputs", async () => {
    await fc.assert(
      fc.asyncProperty(
        words,
        stops,
        fc.boolean(),
        fc.array(fc.nat(200), { maxLength: 30 }),
        fc.integer({ min: 1, max: 5 }),
        async (whole, stop, includeStopInOutput, places, tokensPerOutput) => {
          const ended = { stop, includeStopInOutput: false };
          const request = includeStopInOutput
            ? { ...ended, includeStopInOutput, sampling: lengthOnly }
            : ended;
          const result = await run(cut(utf8(whole), places), request, { tokensPerOutput });
          const expected = expectedText(whole, stop, includeStopInOutput);
          if (includeStopInOutput && expected.stop === null) return;
          expect(result.text).toBe(expected.text);
          const last = result.deltas.at(-1)!;
          expect(last.finishReason).toBe("stop");
          expect(last.stopReason).toBe(expected.stop);
          expect(result.deltas.slice(0, -1).every((d) => d.finishReason === null)).toBe(true);
        },
      ),
      { numRuns: 400 },
    );
  });

  test("never splits a character", async () => {
    const bytes = utf8("a🙂é世b");
    const { deltas } = await run(
      Array.from(bytes, (byte) => Uint8Array.of(byte)),
      {},
    );
    expect(deltas.map((d) => d.text).filter((t) => t !== "")).toEqual(["a", "🙂", "é", "世", "b"]);
    expect(deltas.flatMap((d) => [...d.tokenIds])).toHaveLength(bytes.length + 1);
  });

  test("shows an unfinished character at the end as U+FFFD", async () => {
    const { text } = await run([utf8("a"), utf8("🙂").slice(0, 2)], {});
    expect(text).toBe("a\uFFFD");
  });

  test("aborts the engine's request at a stop string and counts only the tokens before it", async () => {
    const pieces = ["one ", "two ", "three ", "four"].map(utf8);
    const { text, abortedIds, usage, deltas } = await run(pieces, { stop: ["thr"] });
    expect(text).toBe("one two ");
    expect(abortedIds).toEqual(["t"]);
    expect(usage).toEqual({ promptTokens: 3, completionTokens: 3, cachedTokens: 0 });
    expect(deltas.at(-1)).toMatchObject({ finishReason: "stop", stopReason: "thr", tokenIds: [2] });
  });

  test("holds back only what can still become a stop string", async () => {
    const { deltas } = await run(["ab", "x", "a", "c"].map(utf8), { stop: ["abc"] });
    expect(deltas.map((d) => d.text)).toEqual(["", "abx", "", "ac", ""]);
  });

  test("leaves out the text of the end token unless asked, and names a stop id", async () => {
    const pieces = [utf8("x"), utf8("y")];
    expect((await run(pieces, {})).text).toBe("xy");
    expect((await run(pieces, { includeStopInOutput: true })).text).toBe("xy</s>");
    const byId = await run(pieces, { sampling: { ...defaultSampling, stopTokenIds: [1] } });
    expect(byId.text).toBe("x");
    expect(byId.deltas.at(-1)).toMatchObject({ finishReason: "stop", stopReason: 1 });
  });

  test("does not stop within the first minTokens tokens", async () => {
    const pieces = ["a", "b", "a", "b"].map(utf8);
    const { text } = await run(pieces, { stop: ["b"], sampling: { ...defaultSampling, minTokens: 3 } });
    expect(text).toBe("aba");
  });

  test("attaches logprobs to their tokens and ends with length at maxTokens", async () => {
    const pieces = ["a", "b", "c"].map(utf8);
    const { deltas } = await run(pieces, { sampling: { ...defaultSampling, maxTokens: 2, logprobs: 1 } });
    expect(deltas.map((d) => d.logprobs?.length)).toEqual([1, 1]);
    expect(deltas.at(-1)!.finishReason).toBe("length");
  });

  test("leaving the loop early aborts the request; an engine error reaches the reader", async () => {
    const client = createFakeClient({
      fail: (r, i) => (r.requestId === "bad" && i === 1 ? new Error("x") : undefined),
    });
    const tokenizer = createPieceTokenizer(["", "a", "b", "c"].map(utf8));
    const base = {
      promptTokenIds: [1, 2, 3],
      sampling: defaultSampling,
      stop: [],
      includeStopInOutput: false,
    };
    const request = { ...base, skipSpecialTokens: true };
    for await (const _ of createTextStream(client, tokenizer, { ...request, requestId: "early" })) break;
    expect(client.abortedIds).toEqual(["early"]);
    await expect(async () => {
      for await (const _ of createTextStream(client, tokenizer, { ...request, requestId: "bad" }));
    }).rejects.toThrow("x");
  });
});

test("of stops that one character completes, the longest wins", () => {
  expect(new StopMatcher(["b", "ab"], false).push("xab")).toEqual({ text: "x", stop: "ab" });
  expect(new StopMatcher(["ab", "xabc"], false).push("xabc")).toEqual({ text: "x", stop: "ab" });
});

const lengthOnly = { ...defaultSampling, maxTokens: 500 };
