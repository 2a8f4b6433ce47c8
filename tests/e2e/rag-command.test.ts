import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ErrorCode } from "../../src/base/error-catalogue.ts";
import { expectRefusal } from "./expect-refusal.ts";
import { endProcesses, makeFolder, removeFolders, runCli } from "./run-cli.ts";

const folder = makeFolder();
const inFolder = (name: string): string => path.join(folder, name);
const pairs = [1, 2, 3, 4].map((at) => ({
  question: `Which is right, ${at}?`,
  first: "this",
  second: "that",
  label: "first",
}));
/** What the judge writes, and how often it was asked. */
const judge = { says: "I like both.", numAsked: 0, usage: {} as object };
const usage = { prompt_tokens: 100, prompt_tokens_details: { cached_tokens: 40 } };

const server = createServer((request, response) => {
  request.resume().on("end", () => {
    if (request.url === "/v1/models") return response.end(JSON.stringify({ data: [{ id: "judge" }] }));
    judge.numAsked += 1;
    const message = { role: "assistant", content: judge.says };
    const top_logprobs = [
      { token: "A", logprob: -0.1 },
      { token: "B", logprob: -3 },
    ];
    const choice = { message, finish_reason: "stop", logprobs: { content: [{ top_logprobs }] } };
    return response.end(JSON.stringify({ choices: [choice], ...judge.usage }));
  });
});

const url = (): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
const rag = (...more: string[]): string[] => ["rag", inFolder("pairs.json"), "--url", url(), ...more];

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  writeFileSync(inFolder("pairs.json"), JSON.stringify(pairs));
});
afterAll(() => {
  server.close();
  endProcesses();
  removeFolders();
});

test("a judge that answers nonsense leaves rows undecided, and the way on is told", async () => {
  judge.usage = { usage };
  const { exitCode, stdout, stderr } = await runCli(...rag("--preferences"));
  expect(exitCode, stderr).toBe(0);
  expect(stdout).toBe("4 pairs, 4 undecided; – chosen by place, not by answer\n");
  expect(stderr).toMatch(/4 of 4 rows are undecided: in three tries .*--verdict choice or rating/);
  // Four rows, both orders, three tries each.
  expect(stderr).toContain("2,400 prompt tokens: 960 (40.0 %) from the prefix cache, 1,440 computed");
});

test("tokens of prompts whose probabilities are read are counted, and where a server does not say, nothing is", async () => {
  judge.usage = { usage };
  const out = inFolder("scores.json");
  const known = await runCli(...rag("--preferences", "--verdict", "choice", "--out", out));
  expect(known.stderr).toContain("800 prompt tokens: 320 (40.0 %) from the prefix cache, 480 computed");
  expect(known.stderr).not.toContain("undecided");
  expect(JSON.parse(readFileSync(out, "utf8"))).toMatchObject({
    promptTokens: { numSent: 800, numCached: 320 },
  });
  judge.usage = {};
  const unknown = await runCli(...rag("--preferences", "--verdict", "choice", "--json"));
  expect(unknown.stderr).not.toContain("prompt tokens");
  expect(JSON.parse(unknown.stdout)).toMatchObject({ promptTokens: null, numPairs: 4 });
});

test("evaluate --chat tells the prompt tokens that the server counted", async () => {
  judge.usage = { usage };
  writeFileSync(inFolder("rows.jsonl"), '{"q": "Who?", "a": "Ada"}\n{"q": "Where?", "a": "here"}\n');
  const task = ["task: own", "dataset_path: rows.jsonl", "test_split: test", 'doc_to_text: "{{q}}"'];
  writeFileSync(inFolder("own.yaml"), [...task, "doc_to_target: a"].join("\n"));
  const run = await runCli("evaluate", "--chat", "--url", url(), "--tasks", inFolder("own.yaml"), "--json");
  expect(run.exitCode, run.stderr).toBe(0);
  expect(run.stderr).toContain("200 prompt tokens: 80 (40.0 %) from the prefix cache, 120 computed");
  expect(JSON.parse(run.stdout)).toMatchObject({ prompt_tokens: { sent: 200, cached: 80 } });
});

describe("what has no effect or no place is refused before the judge is asked", () => {
  test.each<[what: string, more: () => string[], code: ErrorCode, exitCode: number, says: string[]]>([
    [
      "metrics of single answers beside pairs",
      () => ["--preferences", "--metrics", "faithfulness"],
      "invalid_option",
      2,
      ["--metrics has no effect", "--preferences"],
    ],
    [
      "a temperature where nothing is written",
      () => ["--preferences", "--verdict", "choice", "--temperature", "1"],
      "invalid_option",
      2,
      ["--temperature has no effect", "--verdict text"],
    ],
    [
      "an embedding model without its server",
      () => ["--embedding-model", "e"],
      "invalid_option",
      2,
      ["--embedding-model has no effect", "--embeddings-url"],
    ],
    [
      "an output below a file",
      () => ["--preferences", "--out", inFolder("pairs.json/scores.json")],
      "output_unwritable",
      3,
      ["pairs.json is a file", "--out"],
    ],
    [
      "an output that is a folder",
      () => ["--preferences", "--out", folder],
      "output_unwritable",
      3,
      [folder, "it is a folder", "--out"],
    ],
  ])("%s", async (_what, more, code, exitCode, says) => {
    judge.numAsked = 0;
    await expectRefusal(folder, { args: rag(...more()), code, exitCode, says });
    expect(judge.numAsked).toBe(0);
    expect(existsSync(inFolder("pairs.json"))).toBe(true);
  });
});

test("a file without rows is refused", async () => {
  writeFileSync(inFolder("none.json"), "[]");
  await expectRefusal(folder, {
    args: ["rag", inFolder("none.json"), "--preferences", "--url", url()],
    code: "invalid_data_file",
    exitCode: 3,
    says: ["none.json has no rows", "JSON lines or a JSON array"],
  });
});
