import { expect, test } from "vitest";
import { madeUpStage } from "../../tests/made-up-stage.ts";
import type { RateStage } from "../records/bench.ts";
import { stageName } from "./stage-text.ts";
import { recordsFile } from "./sweep.ts";

function madeUpRate(requestRate: RateStage["requestRate"], numRequests: number): RateStage {
  const { concurrency: _closed, ...figures } = madeUpStage(1, 100);
  const open = { burstiness: 1, arrivals: "", maxConcurrency: null, becameClosed: false };
  return { ...figures, ...open, requestRate, numRequests, ttftFromDueMs: null, e2eFromDueMs: null };
}

test("a trace without a rate is called what it is, beside as many requests at once", () => {
  const trace = { ...madeUpRate("inf", 1), burstiness: null, arrivals: "as in t.csv" };
  expect([stageName(trace), recordsFile(trace)]).toEqual(["1 request as in t.csv", "requests_t1.jsonl"]);
  expect(stageName(madeUpRate("inf", 1))).toBe("1 request at once");
  expect(stageName(madeUpRate("inf", 2))).toBe("All 2 at once");
});

test("stages that send all at once keep their requests in files of their own", () => {
  const stages = [madeUpStage(4, 100), madeUpRate(2.5, 10), madeUpRate("inf", 10), madeUpRate("inf", 20)];
  expect(stages.map(recordsFile)).toEqual([
    "requests_c4.jsonl",
    "requests_r2.5.jsonl",
    "requests_n10.jsonl",
    "requests_n20.jsonl",
  ]);
});
