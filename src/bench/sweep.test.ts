import { expect, test } from "vitest";
import { madeUpStage } from "../../tests/made-up-stage.ts";
import type { RateStage } from "../records/bench.ts";
import { recordsFile } from "./sweep.ts";

function madeUpRate(requestRate: RateStage["requestRate"], numRequests: number): RateStage {
  const { concurrency: _closed, ...figures } = madeUpStage(1, 100);
  const open = { burstiness: 1, arrivals: "", maxConcurrency: null, becameClosed: false };
  return { ...figures, ...open, requestRate, numRequests, ttftFromDueMs: null, e2eFromDueMs: null };
}

test("stages that send all at once keep their requests in files of their own", () => {
  const stages = [madeUpStage(4, 100), madeUpRate(2.5, 10), madeUpRate("inf", 10), madeUpRate("inf", 20)];
  expect(stages.map(recordsFile)).toEqual([
    "requests_c4.jsonl",
    "requests_r2.5.jsonl",
    "requests_n10.jsonl",
    "requests_n20.jsonl",
  ]);
});
