import { readFileSync } from "node:fs";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import { endProcesses, makeFolder, removeFolders, runCli } from "./run-cli.ts";

afterAll(() => {
  endProcesses();
  removeFolders();
});

const small = ["--tasks", "pebble", "--limit", "10", "--concurrency", "1,2", "--requests-per-seat", "1"];
const short = ["--input-tokens", "16", "--output-tokens", "4"];

test("the flow on the embedded model writes its comparison, and a second run keeps every step", async () => {
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
  ]) {
    expect(markdown).toContain(`## ${heading}`);
  }
  expect(readFileSync(path.join(out, "comparison.html"), "utf8")).toMatch(/^<!doctype html>/i);
  const record = readComparison(out);
  expect(record).toMatchObject({ kind: "comparison", scheme: "w8a8" });
  expect(record.compressed.sizeBytes).toBeLessThan(record.base.sizeBytes);
  expect(record.accuracy.length).toBeGreaterThan(0);

  const second = await runCli("flow", ...small, ...short, "--out", out);
  expect(second.exitCode, second.stderr).toBe(0);
  const kept = second.stderr
    .split("\n")
    .flatMap((line) => line.split("kept from an earlier run: ")[1] ?? [])
    .map((file) => path.relative(out, file).split(path.sep).join("/"));
  expect(kept).toEqual([
    "compressed/model",
    "base/evaluation.json",
    "compressed/evaluation.json",
    "base/serving.json",
    "compressed/serving.json",
  ]);
  const { createdAt: _first, ...before } = record;
  const { createdAt: _second, ...after } = readComparison(out);
  expect(after).toEqual(before);
});

interface Comparison {
  readonly createdAt: string;
  readonly base: { readonly sizeBytes: number };
  readonly compressed: { readonly sizeBytes: number };
  readonly accuracy: readonly unknown[];
}

function readComparison(folder: string): Comparison {
  return JSON.parse(readFileSync(path.join(folder, "comparison.json"), "utf8")) as Comparison;
}
