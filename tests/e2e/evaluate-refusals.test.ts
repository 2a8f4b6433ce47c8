import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ErrorCode } from "../../src/base/error-catalogue.ts";
import { expectRefusal } from "./expect-refusal.ts";
import { endProcesses, makeFolder, pebble, removeFolders, runCli } from "./run-cli.ts";

const folder = makeFolder();
const inFolder = (name: string): string => path.join(folder, name);
const question = (answer: string) => ({
  question: "Which is a fruit?",
  choices: { text: ["pear", "stone"], label: ["A", "B"] },
  answerKey: answer,
});

beforeAll(() => {
  mkdirSync(inFolder("arc"));
  const rows = [question("A"), question("Z")].map((row) => JSON.stringify(row)).join("\n");
  writeFileSync(inFolder("arc/ARC-Easy-test.jsonl"), rows);
  writeFileSync(inFolder("rows.jsonl"), `${JSON.stringify({ q: "Tell me all.", a: "x ".repeat(60) })}\n`);
  const base = ["test_split: test", "dataset_path: rows.jsonl", 'doc_to_text: "{{q}}"', "doc_to_target: a"];
  const define = (name: string, ...lines: string[]): void =>
    writeFileSync(inFolder(`${name}.yaml`), [`task: ${name}`, ...base, ...lines].join("\n"));
  define("endless", "generation_kwargs: {until: [], max_gen_toks: 12}");
  define("wide", "generation_kwargs: {max_gen_toks: 64}");
  define("long", "output_type: loglikelihood");
  define("unknown", "fewshot_spilt: test");
});
afterAll(() => {
  endProcesses();
  removeFolders();
});

const evaluate = (tasks: string, ...more: string[]): string[] => [
  "evaluate",
  pebble,
  "--tasks",
  tasks,
  ...more,
];

describe("an evaluation that cannot work is refused before the first request", () => {
  test.each<[what: string, args: () => string[], code: ErrorCode, exitCode: number, says: string[]]>([
    [
      "a context too small for the answers",
      () => evaluate(inFolder("wide.yaml"), "--max-model-len", "64"),
      "context_length_exceeded",
      2,
      ["up to 64 tokens", "context of 64", "--max-model-len", "max_gen_toks=32"],
    ],
    [
      "a context too small for a scored text",
      () => evaluate(inFolder("long.yaml"), "--max-model-len", "32"),
      "context_length_exceeded",
      2,
      ["answer of 120 characters", "the model reads 32", "--max-model-len"],
    ],
    [
      "a folder without the file",
      () => evaluate("piqa", "--data", folder),
      "file_not_found",
      3,
      ["piqa found none of piqa/validation.jsonl", folder, "--data"],
    ],
    [
      "an answer key that no choice has",
      () => evaluate("arc_easy", "--data", folder),
      "invalid_data_file",
      3,
      ["ARC-Easy-test.jsonl, row 2,", "not an ARC question", "answerKey", "Correct the file"],
    ],
    [
      "a key that no task file has",
      () => evaluate(inFolder("unknown.yaml")),
      "invalid_task",
      2,
      ["unknown.yaml:6", '"fewshot_spilt"', "fewshot_split"],
    ],
  ])("%s", async (_what, args, code, exitCode, says) => {
    await expectRefusal(folder, { args: args(), code, exitCode, says });
  });
});

test("answers that do not end, and prompts that do not fit, are counted and told with the result", async () => {
  const endless = await runCli(...evaluate(inFolder("endless.yaml"), "--json"));
  expect(endless.exitCode, endless.stderr).toBe(0);
  expect(endless.stderr).toMatch(/endless: 1 of 1 answers ran into their limit .*max_gen_toks/);
  expect(JSON.parse(endless.stdout)).toMatchObject({ cut_answers: { endless: 1 } });

  const short = await runCli(...evaluate("pebble", "--limit", "3", "--max-model-len", "8", "--json"));
  expect(short.exitCode, short.stderr).toBe(0);
  expect(short.stderr).toMatch(/pebble: \d+ prompts are longer than the context of 8 tokens and lost/);
  expect(JSON.parse(short.stdout)).toMatchObject({
    shortened_prompts: { pebble: expect.any(Number) as number },
  });
});
