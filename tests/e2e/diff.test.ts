import { writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import { makeFolder, pebble, removeFolders, runCli } from "./run-cli.ts";

afterAll(removeFolders);

test("diff compares a model with its compressed form on a text", async () => {
  const folder = makeFolder();
  const small = path.join(folder, "small");
  const made = await runCli("quantize", pebble, "--scheme", "w4a16", "--out", small);
  expect(made.exitCode, made.stderr).toBe(0);
  const text = path.join(folder, "text.txt");
  writeFileSync(text, "The red fox lives in the old mill. The owl has three coins. ".repeat(12));
  const flags = ["--text", text, "--window", "16", "--max-tokens", "200"];
  const run = await runCli("diff", pebble, small, ...flags, "--json");
  expect(run.exitCode, run.stderr).toBe(0);
  const figures = JSON.parse(run.stdout) as Record<string, Record<string, number>>;
  expect(figures).toMatchObject({
    kind: "divergence",
    text: { numWindows: 13, windowSize: 16 },
    numTokens: 200,
    errorsOver: "windows",
  });
  expect(figures["kl"]!["mean"]).toBeGreaterThan(0);
  expect(figures["kl"]!["max"]).toBeGreaterThanOrEqual(figures["kl"]!["p99"]!);
  expect(figures["perplexity"]!["ratioLow"]).toBeLessThan(figures["perplexity"]!["ratioHigh"]!);
  const same = await runCli("diff", pebble, pebble, ...flags);
  expect(same.exitCode, same.stderr).toBe(0);
  expect(same.stdout).toContain("200 tokens in 13 windows of 16");
  expect(same.stdout).toMatch(/ratio +1\.00000 \(1\.00000 to 1\.00000\)/);
});

test("diff refuses a window that is longer than the model reads", async () => {
  const text = path.join(makeFolder(), "text.txt");
  writeFileSync(text, "word ".repeat(9000));
  const run = await runCli("diff", pebble, pebble, "--text", text, "--window", "9000");
  expect(run.exitCode).toBe(2);
  expect(run.stderr).toMatch(/--window asks for .* positions\. Lower --window\. \[context_length_exceeded\]/);
});
