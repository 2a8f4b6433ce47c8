import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { endProcesses, makeFolder, pebble, removeFolders, runCli } from "./run-cli.ts";

let data: string;
let out: string;

beforeAll(() => {
  data = makeFolder();
  out = path.join(makeFolder(), "out");
  mkdirSync(path.join(data, "hellaswag"));
  writeFileSync(path.join(data, "hellaswag", "validation.jsonl"), '{"ind": 24,\n');
  vi.stubEnv("HF_HUB_OFFLINE", "1");
  vi.stubEnv("HF_HUB_CACHE", path.join(data, "hub"));
});

afterAll(() => {
  vi.unstubAllEnvs();
  endProcesses();
  removeFolders();
});

/** DATA and OUT stand for folders. */
const cases: readonly [string, string[], string, RegExp][] = [
  [
    "a task whose data set is not in the cache, without a network",
    ["--tasks", "wikitext"],
    "dataset_not_cached",
    /EleutherAI\/wikitext_document_level is not in .*HF_HUB_OFFLINE.*--data FOLDER/,
  ],
  [
    "a data folder without the task's file",
    ["--tasks", "pebble,wikitext", "--data", "DATA"],
    "file_not_found",
    /wikitext/,
  ],
  [
    "a damaged data file",
    ["--tasks", "hellaswag", "--data", "DATA"],
    "invalid_data_file",
    /validation\.jsonl:1/,
  ],
  [
    "a limit for a task that does not run",
    ["--tasks", "pebble", "--limit", "wikitext=4"],
    "invalid_option",
    /--limit.*wikitext.*pebble/,
  ],
  ["a split that a task lacks", ["--tasks", "pebble", "--split", "pebble=x"], "invalid_option", /split "x"/],
];

test.each(cases)("flow and evaluate refuse %s before any work", async (_what, flags, code, says) => {
  const given = flags.map((flag) => (flag === "DATA" ? data : flag));
  for (const args of [["flow"], ["evaluate", pebble]]) {
    const run = await runCli(...args, ...given, "--out", out);
    expect(run.stdout).toBe("");
    expect(run.stderr, args[0]!).toMatch(says);
    // One line and nothing before it: no model was loaded, no step begun.
    expect(run.stderr).toMatch(new RegExp(`^millrace: .*\\[${code}\\]\\n$`));
    expect(existsSync(out)).toBe(false);
  }
});

test("flow refuses a load longer than the context before any work", async () => {
  const run = await runCli("flow", "--input-tokens", "2040", "--output-tokens", "64", "--out", out);
  expect(run).toMatchObject({ exitCode: 2, stdout: "" });
  expect(run.stderr).toMatch(/^millrace: --input-tokens 2040 .*2104 .*2048.*\[invalid_option\]\n$/);
  expect(existsSync(out)).toBe(false);
});
