import { appendFileSync, cpSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import { type ComparisonRecord, comparisonSchema } from "../../src/records/comparison.ts";
import { repositoryPath } from "../test-data.ts";
import { endProcesses, makeFolder, pebble, removeFolders, runCli, runCliOf } from "./run-cli.ts";

afterAll(() => {
  endProcesses();
  removeFolders();
});

const small = ["--tasks", "pebble", "--limit", "10", "--concurrency", "1,2", "--requests-per-seat", "1"];
const short = ["--input-tokens", "16", "--output-tokens", "4", "--min-seconds", "0"];

test("the flow on the embedded model writes its comparison; a second run keeps every step, another build none", async () => {
  const out = path.join(makeFolder(), "flow");
  const first = await runCli("flow", ...small, ...short, "--rounds", "2", "--out", out);
  expect(first.exitCode, first.stderr).toBe(0);
  expect(first.stderr).not.toContain("kept from an earlier run");
  const markdown = readFileSync(path.join(out, "comparison.md"), "utf8");
  expect(first.stdout).toContain(markdown.trimEnd());
  for (const heading of [
    "Size and memory",
    "Accuracy",
    "Throughput",
    "Mean latency",
    "Distribution of latency",
    "How many at once",
    "At equal concurrency",
    "When and where each part was measured",
  ]) {
    expect(markdown).toContain(`## ${heading}`);
  }
  expect(readFileSync(path.join(out, "comparison.html"), "utf8")).toMatch(/^<!doctype html>/i);
  expect(readFileSync(path.join(out, "comparison.csv"), "utf8").trimEnd().split("\r\n")).toHaveLength(5);
  expect(readdirSync(path.join(out, "figures"))).toContain("pareto.svg");
  const record = readComparison(out);
  expect(markdown.split("\n")[2]).toBe(`**${record.recommendation!.text}**`);
  expect(first.stdout.trimEnd().split("\n").at(-2)).toBe(record.recommendation!.text);
  const [base, compressed] = record.variants;
  expect([base!.name, compressed!.name]).toEqual(["base", "w8a8"]);
  expect(compressed!.sizeBytes).toBeLessThan(base!.sizeBytes!);
  expect(record.pairs[0]!.accuracy.length).toBeGreaterThan(0);
  expect(record.measurements.map(({ part, variant }) => `${part}, ${variant}`)).toEqual([
    "accuracy, base",
    "serving and load, base",
    "serving and load, base",
    "quantisation, w8a8",
    "accuracy, w8a8",
    "serving and load, w8a8",
    "serving and load, w8a8",
  ]);
  expect(order(first.stderr)).toEqual(["base", "w8a8", "w8a8", "base"]);
  expect(record.load.concurrency.every(({ kvCapacity }) => kvCapacity!.byArithmetic > 0)).toBe(true);
  for (const { serving, levels } of record.variants) {
    expect(levels.map(({ asked, rounds }) => [asked, rounds.length])).toEqual([
      [1, 2],
      [2, 2],
    ]);
    expect(serving!.memoryPlan!.weights).toBeGreaterThan(1e6);
    expect(serving!.memoryPlan!.kvCache).toBeGreaterThan(1e6);
    if (process.platform !== "linux") continue;
    expect(serving!.readyMemoryBytes).toBeGreaterThan(serving!.memoryPlan!.weights);
    expect(serving!.peakMemoryBytes).toBeGreaterThanOrEqual(serving!.readyMemoryBytes!);
  }

  const second = await runCli("flow", "--config", path.join(out, "flow.yaml"), "--out", out);
  expect(second.exitCode, second.stderr).toBe(0);
  expect(keptFiles(second.stderr, out)).toEqual([
    expect.stringMatching(/^artefacts\/w8a8\/model-\w+$/),
    expect.stringMatching(/^artefacts\/base\/evaluation-\w+\/results_.*\.json$/),
    expect.stringMatching(/^artefacts\/w8a8\/evaluation-\w+\/results_.*\.json$/),
    ...["base", "w8a8", "w8a8", "base"].map((name) =>
      expect.stringMatching(new RegExp(`^artefacts/${name}/serving-\\w+/serving\\.json$`)),
    ),
  ]);
  const { writtenAt: firstTime, ...before } = record;
  const { writtenAt: secondTime, ...after } = readComparison(out);
  expect(after).toEqual(before);
  expect(Date.parse(secondTime)).toBeGreaterThan(Date.parse(firstTime));

  const other = path.join(makeFolder(), "other");
  cpSync(out, other, { recursive: true });
  const both = await runCli("compare", out, other, "--json");
  expect(both.exitCode, both.stderr).toBe(0);
  const { pairs } = comparisonSchema.parse(JSON.parse(both.stdout));
  expect(pairs.map(({ variant }) => variant)).toEqual(["flow w8a8", "other base", "other w8a8"]);
  expect(pairs[0]!.accuracy).toEqual(record.pairs[0]!.accuracy);
  expect(pairs[1]!.accuracy[0]).toMatchObject({ difference: 0 });

  const third = await runCliOf(
    otherBuild(),
    "flow",
    pebble,
    ...small,
    ...short,
    "--rounds",
    "2",
    "--out",
    out,
  );
  expect(third.exitCode, third.stderr).toBe(0);
  expect(keptFiles(third.stderr, out)).toEqual([]);
  for (const [index, { startedAt, build }] of readComparison(out).measurements.entries()) {
    expect(Date.parse(startedAt)).toBeGreaterThan(Date.parse(record.measurements[index]!.startedAt));
    expect(build).not.toBe(record.measurements[index]!.build);
  }
});

test("a budget's search is kept while its text holds the same, and made anew when it does not", {
  timeout: 240_000,
}, async () => {
  const folder = makeFolder();
  const text = path.join(folder, "text.txt");
  const out = path.join(folder, "flow");
  const load = ["--concurrency", "1", "--requests-per-seat", "1", ...short, "--rounds", "1"];
  const choice = ["--tasks", "none", "--schemes", "bf16"];
  // Room for one candidate.
  const budget = ["--budget", "size<=1.6MB", "--text", text];
  const run = () => runCli("flow", ...choice, ...budget, ...load, "--out", out);
  const searches = () =>
    readdirSync(path.join(out, "artefacts", "budget")).filter((name) => name.endsWith(".search"));
  writeFileSync(text, "The red fox lives in the old mill. ".repeat(12));
  const first = await run();
  expect(first.exitCode, first.stderr).toBe(0);
  const markdown = readFileSync(path.join(out, "comparison.md"), "utf8");
  expect(markdown).toMatch(/- budget-\S+: KL [\d.]+ ± [\d.]+ on text\.txt, size .+, within size<=1\.6MB\./);
  expect(markdown).not.toMatch(/quality:? not measured/i);
  const [found] = searches();
  const again = await run();
  expect(again.exitCode, again.stderr).toBe(0);
  expect(searches()).toEqual([found]);
  writeFileSync(text, "The owl has three coins. ".repeat(12));
  const anew = await run();
  expect(anew.exitCode, anew.stderr).toBe(0);
  expect(searches()).toHaveLength(2);
});

test("a second flow into a folder that is being written is refused, and leaves it as it is", async () => {
  const out = makeFolder();
  const lock = path.join(out, ".millrace-lock");
  writeFileSync(lock, String(process.pid));
  const load = ["--concurrency", "1", "--requests-per-seat", "1", ...short, "--rounds", "1"];
  const args = ["flow", "--tasks", "none", "--schemes", "bf16", ...load, "--out", out];
  const refused = await runCli(...args);
  expect(refused.exitCode).toBe(2);
  expect(refused.stderr).toContain(`${out} is being written by process ${process.pid}.`);
  expect(refused.stderr).toContain("[output_exists]");
  expect(readdirSync(out)).toEqual([".millrace-lock"]);
  // Its process is gone: a run that was killed holds up none.
  writeFileSync(lock, String(2 ** 30));
  const next = await runCli(...args);
  expect(next.exitCode, next.stderr).toBe(0);
  expect(readdirSync(out)).not.toContain(".millrace-lock");
});

test("a rerun keeps nothing and finds the same weights and answers", async () => {
  const out = path.join(makeFolder(), "flow");
  const first = await runCli("flow", ...small, ...short, "--rounds", "1", "--out", out);
  expect(first.exitCode, first.stderr).toBe(0);
  const elsewhere = path.join(makeFolder(), "again");
  const again = await runCli("flow", "rerun", out, "--out", elsewhere);
  expect(again.exitCode, again.stderr).toBe(0);
  expect(again.stderr).not.toContain("kept from an earlier run");
  expect(readComparison(elsewhere).variants).toHaveLength(2);
  const table = again.stdout.slice(again.stdout.indexOf("Against the first run:"));
  expect(table).toMatch(/^base +– +the same +1 in flight +[\d.]+ ×/m);
  expect(table).toMatch(/^w8a8 +the same +the same +1 in flight +[\d.]+ ×/m);
  const refused = await runCli("flow", "rerun", out, "--out", elsewhere);
  expect(refused.stderr).toMatch(/holds a flow already.*\[output_exists\]/);
});

test("several schemes and engines stand in one report; what cannot be served is told and holds up nothing", async () => {
  const out = path.join(makeFolder(), "flow");
  const script = repositoryPath("tests/scripted-engine.mjs");
  const broken = `command:"${process.execPath}" "${script}" --port {port} --model {model} --behaviour "crash at start"`;
  const twoOfOurs = ["--engine", "millrace --threads 1", "--engine", "millrace --threads 2"];
  const engines = [...twoOfOurs, "--engine", broken, "--rounds", "1"];
  const load = ["--concurrency", "1", "--requests-per-seat", "1", ...short];
  const schemes = ["--tasks", "none", "--schemes", "w8a8"];
  const run = await runCli("flow", ...schemes, ...engines, ...load, "--out", out);
  expect(run.exitCode, run.stderr).toBe(0);
  const { variants } = readComparison(out);
  expect(variants.map(({ name, failure }) => [name, failure?.kind ?? null])).toEqual([
    ["base millrace --threads 1", null],
    ["w8a8 millrace --threads 1", null],
    ["base millrace --threads 2", null],
    ["w8a8 millrace --threads 2", null],
    ...["base", "w8a8"].map((name) => [expect.stringMatching(`^${name} `), "ended by itself"]),
  ]);
  const markdown = readFileSync(path.join(out, "comparison.md"), "utf8");
  expect(markdown).toContain("## What failed");
  expect(markdown).toContain("cannot open the model: wrong magic");
});

/** Names of what was served, in order. */
function order(log: string): string[] {
  return log
    .split("\n")
    .flatMap((line) => /^\[\d+\/\d+\] (\w+), round \d: warm-up done/.exec(line)?.[1] ?? []);
}

/** The steps that a run kept, as paths below its folder. */
function keptFiles(log: string, out: string): string[] {
  return log
    .split("\n")
    .flatMap((line) => /^\[[^:]*: kept from an earlier run: (.+) \(\d+ ms\)$/.exec(line)?.[1] ?? [])
    .map((file) => path.relative(out, file).split(path.sep).join("/"));
}

/** A copy of the program whose code differs by a comment; gives its command. */
function otherBuild(): string {
  const root = makeFolder();
  for (const name of ["dist", "package.json"]) {
    cpSync(repositoryPath(name), path.join(root, name), { recursive: true });
  }
  for (const name of ["build", "models", "node_modules"])
    symlinkSync(repositoryPath(name), path.join(root, name));
  appendFileSync(path.join(root, "dist", "base", "units.js"), "// another build\n");
  return path.join(root, "dist", "cli", "main.js");
}

function readComparison(folder: string): ComparisonRecord {
  return comparisonSchema.parse(JSON.parse(readFileSync(path.join(folder, "comparison.json"), "utf8")));
}

test("the presets of vLLM's and GuideLLM's examples also print what these tools print", async () => {
  const out = path.join(makeFolder(), "flow");
  const common = ["--tasks", "none", "--input-tokens", "16", "--output-tokens", "4", "--out", out];
  const lab = await runCli("flow", "--preset", "lab", "--at-once", "4", "--rounds", "1", ...common);
  expect(lab.exitCode, lab.stderr).toBe(0);
  const blocks = lab.stdout.split("============ Serving Benchmark Result ============").slice(1);
  expect(blocks).toHaveLength(2);
  for (const block of blocks) {
    expect(block).toMatch(/Successful requests: +4 /);
    expect(block).toMatch(/Total generated tokens: +16 /);
  }
  expect(lab.stdout).toMatch(/^base, round 1$/m);
  const sweep = ["--preset", "guidellm", "--rates", "20,40", "--min-seconds", "0"];
  const guidellm = await runCli("flow", ...sweep, ...common);
  expect(guidellm.exitCode, guidellm.stderr).toBe(0);
  expect(guidellm.stdout.match(/Request Latency Statistics/g)).toHaveLength(2);
  expect(guidellm.stdout).toMatch(/^\| constant@20\.00 \|.*\n\| constant@40\.00 \|/m);
  const names = readdirSync(out, { recursive: true, encoding: "utf8" }).map((name) => path.basename(name));
  for (const name of ["guidellm.json", "vllm_n4.json", "vllm_r20.json", "console-vllm.txt"])
    expect(names).toContain(name);
});
