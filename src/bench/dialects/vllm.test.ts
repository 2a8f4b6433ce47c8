// Against what `vllm bench serve` 0.32 itself wrote and printed of one run (tests/golden/recorded/load-dialects): its own
// arrays of times go through our figures and must come out as its figures.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { madeUpRequest, stageOf } from "../../../tests/load-stage.ts";
import { repositoryPath } from "../../../tests/test-data.ts";
import type { Origin } from "../../records/origin.ts";
import { vllmConsoleBlock } from "./vllm-console.ts";
import { vllmResult } from "./vllm-result.ts";

interface Recorded {
  readonly [field: string]: unknown;
  readonly duration: number;
  readonly max_concurrency: number;
  readonly start_times: readonly number[];
  readonly ttfts: readonly number[];
  readonly itls: readonly (readonly number[])[];
  readonly latencies: readonly number[];
  readonly input_lens: readonly number[];
  readonly output_lens: readonly number[];
}

const file = (name: string): string =>
  readFileSync(repositoryPath("tests/golden/recorded/load-dialects", name), "utf8");
const recorded = JSON.parse(file("vllm-serve.json")) as Recorded;

const requests = recorded.start_times.map((start, index) => {
  const sentMs = 1000 * (start - recorded.start_times[0]!);
  const firstMs = sentMs + 1000 * recorded.ttfts[index]!;
  const chunkMs = [firstMs];
  for (const gap of recorded.itls[index]!) chunkMs.push(chunkMs.at(-1)! + 1000 * gap);
  const endMs = sentMs + 1000 * recorded.latencies[index]!;
  const [promptTokens, outputTokens] = [recorded.input_lens[index]!, recorded.output_lens[index]!];
  return madeUpRequest({ index, sentMs, chunkMs, promptTokens, outputTokens, endMs });
});
const stage = stageOf(requests, {
  durationMs: 1000 * recorded.duration,
  concurrency: recorded.max_concurrency,
  targets: [
    { metric: "ttft", maxMs: 60 },
    { metric: "tpot", maxMs: 9 },
  ],
});
const origin = { startedAt: "2026-11-28T18:25:54.000Z", version: "0.0.0" } as Origin;
const result = vllmResult({ record: { model: "scripted", origin }, stage, requests });

test("the JSON has vLLM's fields, one that says who wrote it, and no others", () => {
  expect(Object.keys(result).sort()).toEqual([...Object.keys(recorded), "written_by"].sort());
  expect(result["written_by"]).toBe("millrace 0.0.0");
});

test("every figure is vLLM's own", () => {
  for (const [field, expected] of Object.entries(recorded)) {
    if (typeof expected !== "number") continue;
    expect(result[field], field).toBeCloseTo(expected, 6);
  }
  expect(result["date"]).toBe(recorded["date"]);
  expect(result["input_lens"]).toEqual(recorded.input_lens);
  expect(result["output_lens"]).toEqual(recorded.output_lens);
  for (const [index, gaps] of (result["itls"] as number[][]).entries())
    for (const [i, gap] of gaps.entries()) expect(gap).toBeCloseTo(recorded.itls[index]![i]!, 9);
});

test("the block is the one that vLLM printed, to the letter", () => {
  expect(`${vllmConsoleBlock(result, ["ttft", "tpot", "itl", "e2el"])}\n`).toBe(file("vllm-serve.txt"));
});

test("a failed request keeps its place, with zeros and its error; one that was cut off is left out", () => {
  const [first, second, third] = requests as [
    (typeof requests)[0],
    (typeof requests)[0],
    (typeof requests)[0],
  ];
  const failed = { ...second, error: "HTTP 500: broken", errorKind: "http" as const };
  const cut = { ...third, error: "in flight when the load ended", errorKind: "censored" as const };
  const own = [first, failed, cut];
  const shown = vllmResult({
    record: { model: "m", origin },
    stage: stageOf(own, { durationMs: 100, concurrency: 1 }),
    requests: own,
  });
  expect(shown).toMatchObject({
    num_prompts: 2,
    completed: 1,
    failed: 1,
    errors: ["", "HTTP 500: broken"],
    output_lens: [16, 0],
    request_goodput: null,
  });
});
