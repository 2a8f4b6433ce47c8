import { expect, test } from "vitest";
import { madeUpStage } from "../../tests/made-up-stage.ts";
import type { BenchRecord } from "../records/bench.ts";
import { loadTables } from "./load-tables.ts";

test("every time of the table has its unit", () => {
  const workload = { inputTokens: 8, promptForm: "token-ids" };
  const record = { stages: [madeUpStage(1, 100)], rates: [], workload, pricePerHour: null };
  const [header] = loadTables(record as unknown as BenchRecord).split("\n");
  for (const title of [
    "TTFT p50 ms",
    "TTFT p99 ms",
    "TPOT p50 ms",
    "TPOT p99 ms",
    "ITL p99 ms",
    "e2e p50 ms",
  ])
    expect(header).toContain(title);
});

test("a stage of which nothing ended says so, and nothing of the server's usage", () => {
  const workload = { inputTokens: 8, promptForm: "token-ids" };
  const linesOf = (more: Partial<BenchRecord["stages"][number]>): string => {
    const stages = [{ ...madeUpStage(1, 100), meanPromptTokens: null, ...more }];
    return loadTables({ stages, rates: [], workload, pricePerHour: null } as unknown as BenchRecord);
  };
  expect(linesOf({})).toContain("the server sends no usage");
  expect(linesOf({ numCensored: 8 })).toContain("no answer ended, so that the server counted none");
});

test("prompts of a file are text of no known number of words", () => {
  const workload = { inputTokens: 0, numWords: null, promptForm: "text", description: "1 conversation of f" };
  const record = { stages: [madeUpStage(1, 100)], rates: [], workload, pricePerHour: null };
  expect(loadTables(record as unknown as BenchRecord)).toMatch(
    /Prompt tokens: 1 conversation of f, .* \(text\)\./,
  );
});

test("of conversations it says that what the server counts holds the turns before", () => {
  const workload = {
    inputTokens: 64,
    numWords: null,
    promptForm: "chat",
    caches: "shared",
    description: "prompts of 64 tokens, 3 turns each, which the server counts with all turns before them",
  };
  const record = { stages: [madeUpStage(1, 100)], rates: [], workload, pricePerHour: null };
  const text = loadTables(record as unknown as BenchRecord);
  expect(text).toMatch(/3 turns each, which the server counts with all turns before them, 12\.5 counted/);
  expect(text).not.toContain("64 asked for");
});
