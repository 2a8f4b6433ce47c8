import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { repositoryPath } from "../../../tests/test-data.ts";
import { levelName } from "../../records/load-level.ts";
import { joinVllm, vllmSchema } from "./read-vllm.ts";

const file = repositoryPath("tests/golden/recorded/load-dialects/vllm-serve.json");
const recorded = JSON.parse(readFileSync(file, "utf8")) as object;

test("results of several loads are one run with the settings of all", () => {
  const results = [{ num_prompts: 16 }, { num_prompts: 200, burstiness: 0.5 }].map((change) =>
    vllmSchema.parse({ ...recorded, max_concurrency: null, ...change }),
  );
  const { levels, settings } = joinVllm("v", results);
  expect(levels.map(levelName)).toEqual(["16 at once", "200 at once"]);
  expect(settings).toMatchObject({ requestsAtOnce: "16, 200", burstiness: "1, 0.5", model_id: "scripted" });
});

test("results of one load are the rounds of one level", () => {
  const rates = [1024, 922, 1127];
  const results = rates.map((output_throughput) =>
    vllmSchema.parse({ ...recorded, max_concurrency: 2, output_throughput, p90_ttft_ms: undefined }),
  );
  const [once] = joinVllm("v", results.slice(0, 1)).levels;
  const [level, ...others] = joinVllm("v", results).levels;
  expect(others).toEqual([]);
  expect(level!.rounds.map(({ outputTokensPerSecond }) => outputTokensPerSecond)).toEqual(rates);
  expect(level!.outputTokensPerSecond).toBeCloseTo((1024 + 922 + 1127) / 3, 9);
  expect(level!.numRequests).toBe(3 * once!.numRequests!);
  expect(level!.ttftMs).toMatchObject({ p90: null, count: 3 * once!.ttftMs!.count! });
  expect(level!.ttftMs!.p50).toBeCloseTo(once!.ttftMs!.p50, 9);
});

test("repeats of several sizes all at once are named by the size of one, and those of one size by none", () => {
  const resultsOf = (counts: readonly number[]) =>
    counts.map((num_prompts) => vllmSchema.parse({ ...recorded, max_concurrency: null, num_prompts }));
  const namesOf = (counts: readonly number[]) => joinVllm("v", resultsOf(counts)).levels.map(levelName);
  expect(namesOf([100, 100, 100, 200, 200, 200])).toEqual(["100 at once", "200 at once"]);
  expect(namesOf([100, 100, 100])).toEqual(["all at once"]);
  const [level] = joinVllm("v", resultsOf([100, 100, 200])).levels;
  expect(level).toMatchObject({ numRequests: 200, rounds: [{}, {}] });
});

test("results of as many users with prompts of another length are no rounds of each other", () => {
  const results = [2048, 8192].map((total_input_tokens) =>
    vllmSchema.parse({ ...recorded, max_concurrency: 2, total_input_tokens }),
  );
  expect(joinVllm("v", results).levels.map(({ rounds }) => rounds)).toEqual([[], []]);
});
