// `millrace bench` as a user runs it, against a server that plays a script.
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { recordsFile } from "../../src/bench/sweep.ts";
import { benchRecordSchema, type RequestRecord } from "../../src/records/bench.ts";
import { type Simulator, startSimulator } from "../bench-simulator/start-simulator.mjs";
import { runCli } from "./run-cli.ts";

let simulator: Simulator;
let folder: string;
const sizes = ["--vocab", "1000", "--input-tokens", "8", "--output-tokens", "6"];
const prompts = [...sizes, "--min-seconds", "0"];

beforeAll(async () => {
  // Slow enough that the client has time to spare on a busy machine: a stage that it held up does not count.
  simulator = await startSimulator({ scripts: [{ numTokens: 6, ttftMs: 40, itlMs: 20 }] });
  folder = mkdtempSync(path.join(os.tmpdir(), "millrace-bench-"));
});

afterAll(async () => {
  await simulator.stop();
  rmSync(folder, { recursive: true });
});

test("prints stages, and keeps them in three dialects", async () => {
  const out = path.join(folder, "out");
  const load = ["--concurrency", "1,2", "--goodput", "ttft:5000", "--price-per-hour", "1", "--out", out];
  const { exitCode, stdout } = await runCli("bench", simulator.url, ...prompts, ...load);
  expect(exitCode).toBe(0);
  expect(stdout).toContain("Prompt tokens: 8 asked for, 8.0 counted by the server (token ids).");
  expect(stdout).toMatch(/2 in flight: goodput .* 8 of 8 met all targets/);
  expect(stdout).toMatch(/2 in flight: a million output tokens cost/);
  for (const file of ["bench.json", "requests_c1.jsonl", "vllm_c2.json", "guidellm.json"])
    expect(existsSync(path.join(out, file)), file).toBe(true);
  const vllm = JSON.parse(readFileSync(path.join(out, "vllm_c2.json"), "utf8")) as object;
  expect(vllm).toMatchObject({ max_concurrency: 2, completed: 8, total_output_tokens: 48 });
});

test("leaves nothing of an earlier run beside its own files, and others' files alone", async () => {
  const out = path.join(folder, "again");
  const seat = ["--requests-per-seat", "1", "--out", out];
  await runCli("bench", simulator.url, ...prompts, "--concurrency", "1,2", ...seat);
  writeFileSync(path.join(out, "requests_mine.jsonl"), "");
  await runCli("bench", simulator.url, ...prompts, "--concurrency", "1", ...seat);
  expect(readdirSync(out).sort()).toEqual([
    "bench.json",
    "guidellm.json",
    "requests_c1.jsonl",
    "requests_mine.jsonl",
    "vllm_c1.json",
  ]);
});

test("ends where an export has no place, and keeps the record and the table", async () => {
  const out = path.join(folder, "no-place");
  mkdirSync(path.join(out, "guidellm.json.partial"), { recursive: true });
  const seat = ["--concurrency", "1", "--requests-per-seat", "1", "--out", out];
  const { exitCode, stdout, stderr } = await runCli("bench", simulator.url, ...prompts, ...seat);
  expect(exitCode, stderr).not.toBe(0);
  expect(stderr).toMatch(/guidellm\.json cannot be written: .* \[output_unwritable\]$/m);
  expect(stdout).toContain("Prompt tokens: 8 asked for");
  expect(existsSync(path.join(out, "bench.json"))).toBe(true);
});

test("prints vLLM's block", async () => {
  const load = ["--request-rate", "inf", "--num-requests", "5", "--console", "vllm"];
  const { stdout } = await runCli("bench", simulator.url, ...sizes, ...load);
  expect(stdout).toMatch(/^=+ Serving Benchmark Result =+\nSuccessful requests: +5 +\n/);
});

test("sends headers of its user, over its own", async () => {
  const headers = ["--header", "X-Request-Id: mine", "--header", "X-Team: search"];
  const load = ["--concurrency", "1", "--requests-per-seat", "1"];
  const { exitCode, stderr } = await runCli("bench", simulator.url, ...prompts, ...load, ...headers);
  expect(exitCode, stderr).toBe(0);
  expect((await simulator.log()).at(-1)).toMatchObject({ requestId: "mine" });
  const wrong = await runCli("bench", simulator.url, "--header", "search");
  expect(wrong.stderr).toContain("it takes a name and a value, such as 'X-Team: search'");
});

test("sends each request of a trace when it is due and as long as it was, but what no context holds", async () => {
  const trace = path.join(folder, "trace.jsonl");
  const lengths = [5, 9, 200_000, 13, 17];
  const lines = lengths.map((input_length, index) =>
    JSON.stringify({ timestamp: 40 * index, input_length, output_length: 6 }),
  );
  writeFileSync(trace, lines.join("\n"));
  const out = path.join(folder, "replay");
  const replay = await runCli("bench", simulator.url, "--vocab", "1000", "--trace", trace, "--out", out);
  expect(replay.stdout).toContain(
    "the lengths of 4 requests of a trace; 1 more is left out, as the server's context does not hold it",
  );
  const { rates } = benchRecordSchema.parse(JSON.parse(readFileSync(path.join(out, "bench.json"), "utf8")));
  expect(rates[0]).toMatchObject({ numRequests: 4, arrivals: "as in trace.jsonl" });
  const requests = readFileSync(path.join(out, recordsFile(rates[0]!)), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as RequestRecord)
    .toSorted((a, b) => a.index - b.index);
  expect(requests.map(({ promptTokens }) => promptTokens)).toEqual([5, 9, 13, 17]);
  expect(requests.map(({ dueMs }) => dueMs)).toEqual([0, 40, 120, 160]);
});

test("a trace of which no request fits is refused", async () => {
  const trace = path.join(folder, "long.jsonl");
  writeFileSync(trace, JSON.stringify({ timestamp: 0, input_length: 200_000, output_length: 6 }));
  const refused = await runCli("bench", simulator.url, "--trace", trace);
  expect(refused).toMatchObject({ exitCode: 2, stdout: "" });
  expect(refused.stderr).toMatch(
    /--trace has 1 request, which is longer than the 100000 tokens.*\[invalid_option\]/,
  );
});

test("finds the highest load within a service level, and sweeps", async () => {
  const search = ["--slo", "ttft_p50<=5s", "--search-to", "4", "--json"];
  const found = await runCli("bench", simulator.url, ...prompts, ...search);
  expect(JSON.parse(found.stdout)).toMatchObject({ best: 4, stopped: "highest load", isConfirmed: true });
  const sweep = ["--profile", "sweep", "--sweep-size", "4", "--max-seconds", "1", "--max-concurrency", "8"];
  const swept = await runCli("bench", simulator.url, ...sizes, ...sweep, "--json");
  const { stages, rates } = JSON.parse(swept.stdout) as {
    stages: object[];
    rates: { requestRate: number }[];
  };
  expect([stages.length, rates.length]).toEqual([2, 2]);
  expect(rates[0]!.requestRate).toBeLessThan(rates[1]!.requestRate);
});

test("compares a server with itself, one load at a time", async () => {
  const versus = ["--concurrency", "2", "--versus", simulator.url, "--rounds", "4", "--max-rounds", "4"];
  const { stdout } = await runCli("bench", simulator.url, ...prompts, ...versus);
  expect(stdout).toContain("noise floor");
  const two = await runCli(
    "bench",
    simulator.url,
    ...prompts,
    "--concurrency",
    "1,2",
    "--versus",
    simulator.url,
  );
  expect(two.exitCode).toBe(2);
  expect(two.stderr).toContain("--versus has 2 loads");
});
