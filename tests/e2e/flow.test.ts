import { appendFileSync, cpSync, readFileSync, symlinkSync } from "node:fs";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import { repositoryPath } from "../test-data.ts";
import { endProcesses, makeFolder, pebble, removeFolders, runCli, runCliOf } from "./run-cli.ts";

afterAll(() => {
  endProcesses();
  removeFolders();
});

const small = ["--tasks", "pebble", "--limit", "10", "--concurrency", "1,2", "--requests-per-seat", "1"];
const short = ["--input-tokens", "16", "--output-tokens", "4"];

test("the flow on the embedded model writes its comparison; a second run keeps every step, another build none", async () => {
  const out = path.join(makeFolder(), "flow");
  const first = await runCli("flow", ...small, ...short, "--out", out);
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
    "When and where each part was measured",
  ]) {
    expect(markdown).toContain(`## ${heading}`);
  }
  expect(readFileSync(path.join(out, "comparison.html"), "utf8")).toMatch(/^<!doctype html>/i);
  const record = readComparison(out);
  expect(record).toMatchObject({ kind: "comparison", scheme: "w8a8" });
  expect(record.compressed.sizeBytes).toBeLessThan(record.base.sizeBytes);
  expect(record.accuracy.length).toBeGreaterThan(0);
  expect(record.verdict.map((sentence) => sentence.split(":")[0])).toEqual([
    "Quality",
    "Size and memory",
    "Speed",
  ]);
  expect(record.measurements.map(({ part, side }) => `${part}, ${side}`)).toEqual([
    "quantisation, compressed",
    "accuracy, base",
    "accuracy, compressed",
    "serving and load, base",
    "serving and load, compressed",
  ]);
  for (const { serving } of [record.base, record.compressed]) {
    expect(serving.memoryPlan.weights).toBeGreaterThan(1e6);
    expect(serving.memoryPlan.kvCache).toBeGreaterThan(1e6);
    if (process.platform !== "linux") continue;
    expect(serving.readyMemoryBytes).toBeGreaterThan(serving.memoryPlan.weights);
    expect(serving.peakMemoryBytes).toBeGreaterThanOrEqual(serving.readyMemoryBytes);
  }

  const second = await runCli("flow", ...small, ...short, "--out", out);
  expect(second.exitCode, second.stderr).toBe(0);
  expect(keptFiles(second.stderr, out)).toEqual([
    "compressed/model",
    expect.stringMatching(/^base\/results_.*\.json$/),
    expect.stringMatching(/^compressed\/results_.*\.json$/),
    "base/serving.json",
    "compressed/serving.json",
  ]);
  const { writtenAt: firstTime, ...before } = record;
  const { writtenAt: secondTime, ...after } = readComparison(out);
  expect(after).toEqual(before);
  expect(Date.parse(secondTime)).toBeGreaterThan(Date.parse(firstTime));

  const third = await runCliOf(otherBuild(), "flow", pebble, ...small, ...short, "--out", out);
  expect(third.exitCode, third.stderr).toBe(0);
  expect(keptFiles(third.stderr, out)).toEqual([]);
  for (const [index, { startedAt, build }] of readComparison(out).measurements.entries()) {
    expect(Date.parse(startedAt)).toBeGreaterThan(Date.parse(record.measurements[index]!.startedAt));
    expect(build).not.toBe(record.measurements[index]!.build);
  }
});

/** The steps that a run kept, as paths below its folder. */
function keptFiles(log: string, out: string): string[] {
  return log
    .split("\n")
    .flatMap((line) => /^\[\d\/\d\] \w+: kept from an earlier run: (.+) \(\d+ ms\)$/.exec(line)?.[1] ?? [])
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

interface Served {
  readonly sizeBytes: number;
  readonly serving: {
    readonly readyMemoryBytes: number;
    readonly peakMemoryBytes: number;
    readonly memoryPlan: { readonly weights: number; readonly kvCache: number };
  };
}

interface Comparison {
  readonly verdict: readonly string[];
  readonly writtenAt: string;
  readonly measurements: readonly {
    readonly part: string;
    readonly side: string;
    readonly startedAt: string;
    readonly build: string;
  }[];
  readonly base: Served;
  readonly compressed: Served;
  readonly accuracy: readonly unknown[];
}

function readComparison(folder: string): Comparison {
  return JSON.parse(readFileSync(path.join(folder, "comparison.json"), "utf8")) as Comparison;
}
