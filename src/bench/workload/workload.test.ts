import { describe, expect, test } from "vitest";
import { isSyntheticData, parseDataSpec } from "./data-spec.ts";
import { parsePromptFile } from "./file-workload.ts";
import { fixedLength } from "./length-range.ts";
import type { SyntheticSpec } from "./synthetic-workload.ts";
import { TraceLengths } from "./trace-lengths.ts";
import { createWorkload, promptOf } from "./workload.ts";

const plain: SyntheticSpec = {
  kind: "synthetic",
  seed: 1,
  prompts: { vocabSize: 5000 },
  input: fixedLength(20),
  output: fixedLength(7),
  lengths: null,
  turns: 1,
  chat: false,
  sharedPrefix: null,
  salt: null,
};
const promptsOf = (spec: SyntheticSpec, count: number): number[][] =>
  Array.from(
    { length: count },
    (_, index) => createWorkload(spec).conversation(index)[0]!.prompt as number[],
  );

describe("synthetic prompts", () => {
  test("are as long as asked for, the same for a seed and unlike each other from the start", () => {
    const prompts = promptsOf(plain, 50);
    expect(prompts.every((prompt) => prompt.length === 20)).toBe(true);
    expect(promptsOf(plain, 50)).toEqual(prompts);
    expect(new Set(prompts.map((prompt) => prompt.slice(0, 2).join())).size).toBe(50);
  });

  test("a salt changes their beginnings alone", () => {
    const [bare, salted] = [promptsOf(plain, 5), promptsOf({ ...plain, salt: 99 }, 5)];
    for (const [index, prompt] of salted.entries()) {
      expect(prompt.slice(0, 4)).not.toEqual(bare[index]!.slice(0, 4));
      expect(prompt.slice(4)).toEqual(bare[index]!.slice(4));
    }
  });

  test("share as many beginnings as asked for", () => {
    const prompts = promptsOf({ ...plain, sharedPrefix: { tokens: 12, count: 3 } }, 60);
    expect(prompts.every((prompt) => prompt.length === 32)).toBe(true);
    expect(new Set(prompts.map((prompt) => prompt.slice(0, 12).join())).size).toBe(3);
    expect(new Set(prompts.map((prompt) => prompt.slice(12).join())).size).toBe(60);
  });

  test("have the lengths of a distribution within its ends, or those of a trace in order", () => {
    const input = { mean: 100, stdev: 20, min: 60, max: 130 };
    const lengths = promptsOf({ ...plain, input }, 400).map((prompt) => prompt.length);
    expect(Math.min(...lengths)).toBeGreaterThanOrEqual(60);
    expect(Math.max(...lengths)).toBeLessThanOrEqual(130);
    // Cut off 1.5 deviations above and 2 below, the mean is 98.9; five standard errors of a sample of 400 are 4.
    expect(Math.abs(lengths.reduce((sum, each) => sum + each, 0) / 400 - 98.9)).toBeLessThan(4);
    const trace = [
      { input: 3, output: 1 },
      { input: 9, output: 2 },
    ];
    const workload = createWorkload({ ...plain, lengths: trace });
    expect([0, 1, 2].map((index) => (workload.conversation(index)[0]!.prompt as number[]).length)).toEqual([
      3, 9, 3,
    ]);
    expect(workload.conversation(1)[0]!.outputTokens).toBe(2);
  });

  test("turns are messages behind the answers before them", () => {
    const workload = createWorkload({ ...plain, prompts: { wordsPerToken: 1 }, turns: 2 });
    const [first, second] = workload.conversation(0);
    const opening = promptOf(first!, []) as { role: string; content: string }[];
    const history = [...opening, { role: "assistant", content: "yes" }] as never;
    expect(promptOf(second!, history)).toMatchObject([
      { role: "user" },
      { role: "assistant", content: "yes" },
      { role: "user" },
    ]);
    expect(workload.promptForm).toBe("chat");
    // The second turn begins with the first, which a prefix cache knows.
    expect(workload.sharesPrefixes).toBe(true);
    expect(createWorkload(plain).sharesPrefixes).toBe(false);
  });
});

test("a trace begins with the first request that the server's context holds", () => {
  const lengths = [900, 10, 900, 20].map((input) => ({ input, output: 5 }));
  const arrivals = { kind: "times" as const, dueMs: [0, 400, 500, 700], name: "t" };
  const trace = new TraceLengths(lengths, 100);
  expect(trace.loadOf({ arrivals, numRequests: 4, maxConcurrency: null })).toMatchObject({
    arrivals: { dueMs: [0, 300] },
    numRequests: 2,
  });
});

describe("--data", () => {
  test("takes GuideLLM's keys, as pairs and as JSON", () => {
    const expected = {
      input: { mean: 512, stdev: 64, min: 192, max: 832 },
      output: fixedLength(128),
      turns: 1,
      sharedPrefix: { tokens: 100, count: 4 },
    };
    const pairs =
      "prompt_tokens=512,prompt_tokens_stdev=64,output_tokens=128,prefix_tokens=100,prefix_count=4";
    const json = `{"prompt_tokens": 512, "prompt_tokens_stdev": 64, "output_tokens": 128, "prefix_tokens": 100, "prefix_count": 4}`;
    const told = [`kind=synthetic_text,${pairs}`, json.replace("{", `{"kind": "synthetic_text", `)];
    for (const text of [pairs, json, ...told]) {
      expect(isSyntheticData(text)).toBe(true);
      expect(parseDataSpec(text)).toEqual(expected);
    }
    expect(isSyntheticData("prompts.jsonl")).toBe(false);
  });

  test.each([
    ["prompt_tokens=512", /does not say output_tokens/],
    ["prompt_tokens=many,output_tokens=1", /prompt_tokens is "many"/],
    ["prompt_tokens=5,output_tokens=1,colour=3", /has the key "colour"/],
    ["prompt_tokens=5,prompt_tokens_min=9,output_tokens=1", /_min 9 above .*_max 5/],
    ["kind=huggingface,prompt_tokens=64", /kind is "huggingface"; it takes synthetic_text, or a file/],
    ["prompt_tokens=-5,output_tokens=1", /prompt_tokens is "-5"; it takes a whole number of at least 1/],
    ["prompt_tokens=5,prompt_tokens_stdev=-1,output_tokens=1", /_stdev is "-1"; .* of at least 0/],
    ["{prompt_tokens", /no JSON object/],
    ["prompt_tokens=5,output_tokens=1,turns=0", /turns is "0"; it takes a whole number of at least 1/],
    [
      "prompt_tokens=5,output_tokens=1,prefix_tokens=2,prefix_count=0",
      /prefix_count is "0"; .* of at least 1/,
    ],
    ["prompt_tokens=5,output_tokens=1,prefix_count=3", /prefix_count 3 and no prefix_tokens/],
  ])("refuses %s", (text, message) => {
    expect(() => parseDataSpec(text)).toThrow(message);
  });
});

describe("files of prompts", () => {
  test("of every form that is around", () => {
    const lines = [
      { prompt: "one", output_tokens: 9 },
      {
        messages: [
          { role: "system", content: "be brief" },
          { role: "user", content: "two" },
        ],
      },
      {
        conversations: [
          { from: "human", value: "three" },
          { from: "gpt", value: "…" },
          { from: "human", value: "and?" },
        ],
      },
      { turns: ["four", "more"] },
      { messages: [{ role: "user", content: [{ type: "text", text: "in parts" }] }] },
      { instruction: "five" },
    ];
    const expected = [
      { system: null, turns: ["one"], isMessages: false, outputTokens: 9 },
      { system: "be brief", turns: ["two"], isMessages: true, outputTokens: null },
      { system: null, turns: ["three", "and?"], isMessages: true, outputTokens: null },
      { system: null, turns: ["four", "more"], isMessages: false, outputTokens: null },
      { system: null, turns: ["in parts"], isMessages: true, outputTokens: null },
      { system: null, turns: ["five"], isMessages: false, outputTokens: null },
    ];
    expect(parsePromptFile(lines.map((line) => JSON.stringify(line)).join("\n"), "f")).toEqual(expected);
    expect(parsePromptFile(JSON.stringify(lines), "f")).toEqual(expected);
  });

  test("say that messages are sent as bare text, and what sends them as they are", () => {
    const messages = [
      { role: "user", content: "one" },
      { role: "assistant", content: "two" },
    ];
    const describe = (entry: object, chat: boolean): string => {
      const items = parsePromptFile(JSON.stringify(entry), "f");
      return createWorkload({ kind: "file", name: "f", seed: 1, items, chat, outputTokens: 4 }).description;
    };
    expect(describe({ messages }, false)).toBe(
      "1 conversation of f; what users say is sent as bare text, without roles and answers: add --chat to send messages",
    );
    expect(describe({ messages }, true)).toBe("1 conversation of f");
    expect(describe({ prompt: "one" }, false)).toBe("1 conversation of f");
  });

  test("names parts that are no text, and lengths that are none", () => {
    const image = { type: "image_url", image_url: { url: "data:," } };
    const content = [{ type: "text", text: "what is this?" }, image];
    const entry = JSON.stringify({ messages: [{ role: "user", content }] });
    expect(() => parsePromptFile(entry, "f")).toThrow(
      /f, entry 1 has a message with parts of type image_url;/,
    );
    expect(() => parsePromptFile('{"prompt": "a", "output_tokens": 0}', "f")).toThrow(
      /f, entry 1 says output_tokens is 0; it takes a whole number of at least 1/,
    );
  });

  test("refuses what has no prompt, with its place", () => {
    expect(() => parsePromptFile('{"prompt": "a"}\n{"size": 3}', "f")).toThrow(/f, entry 2 has no prompt/);
    expect(() => parsePromptFile("a\nb", "f")).toThrow(/f, line 1 is not JSON/);
    expect(() => parsePromptFile("", "f")).toThrow(/holds no prompt/);
  });
});
