import { expect, test } from "vitest";
import { madeUpVariant } from "../../../tests/made-up-comparison.ts";
import type { BenchRecord, RateStage } from "../../records/bench.ts";
import { levelName } from "../../records/load-level.ts";
import { composeComparison } from "./compose-comparison.ts";
import { readBench } from "./read-bench.ts";

const latency = { count: 1, mean: 1, p50: 1, p90: 1, p95: 1, p99: 1, max: 1, weak: [] };

/** A stage at a rate, of as many output tokens per second. */
function stageAt(requestRate: number | "inf", outputTokensPerSecond: number): RateStage {
  return {
    requestRate,
    burstiness: null,
    arrivals: requestRate === "inf" ? "all at once" : "Poisson",
    maxConcurrency: null,
    outputTokensPerSecond,
    durationMs: 1000,
    ttftMs: latency,
    tpotMs: latency,
    e2eMs: latency,
    itlMs: latency,
    meanInFlight: 1,
    requestsPerSecond: 1,
    totalTokensPerSecond: 1,
    numRequests: 10,
    numErrors: 0,
    firstError: null,
    errorsByKind: {},
    client: { faults: [] },
    slices: [],
    inFlight: { timeline: [] },
  } as unknown as RateStage;
}

function roundOf(rates: readonly RateStage[]) {
  const record = { origin: {}, workload: {}, stages: [], rates } as unknown as BenchRecord;
  return { record, folder: null };
}

test("rates of a sweep are joined over rounds by their place, as each round found its own", () => {
  const rounds = [
    roundOf([stageAt("inf", 100), stageAt(14, 40), stageAt(20, 60)]),
    roundOf([stageAt("inf", 120), stageAt(13, 42), stageAt(16, 50)]),
  ];
  const levels = readBench("a", rounds).levels.map(({ kind, asked, rounds: each }) => ({
    kind,
    asked,
    each: each.map(({ outputTokensPerSecond }) => outputTokensPerSecond),
  }));
  expect(levels).toEqual([
    { kind: "at-once", asked: null, each: [100, 120] },
    { kind: "open", asked: 13.5, each: [40, 42] },
    { kind: "open", asked: 18, each: [60, 50] },
  ]);
});

test("several that were sent all at once differ in how many, and one alone is compared with any other", () => {
  const stages = [10, 20].map((numRequests) => ({ ...stageAt("inf", 100), numRequests }));
  const namesOf = (rates: readonly RateStage[]) => readBench("a", [roundOf(rates)]).levels.map(levelName);
  expect(namesOf(stages)).toEqual(["10 at once", "20 at once"]);
  expect(namesOf(stages.slice(0, 1))).toEqual(["all at once"]);
});

/** What a comparison of two loads lists as not the same. */
function differencesOf(...loads: readonly [rates: readonly RateStage[], promptForm: string][]) {
  const subjects = loads.map(([rates, promptForm], index) => {
    const round = roundOf(rates);
    const record = { ...round.record, workload: { promptForm } } as BenchRecord;
    const { levels, settings } = readBench(String(index), [{ ...round, record }]);
    const variant = madeUpVariant(String(index), { levels: [...levels], settings });
    return { variant, evaluation: null, kvCache: null, measurements: [] };
  });
  const request = { title: "", slo: [], pricePerHour: null, notes: [], aim: null };
  const { differences } = composeComparison(subjects, request);
  return Object.fromEntries(differences.map(({ setting, values }) => [setting, values]));
}

test("how many were sent at once, how requests came and in what form is listed where it differs", () => {
  const even = { ...stageAt(5, 40), arrivals: "constant", maxConcurrency: 64 };
  const few = { ...stageAt("inf", 100), numRequests: 16 };
  const many = { ...few, numRequests: 200 };
  expect(differencesOf([[few], "text"], [[many], "text"])).toEqual({ requestsAtOnce: ["16", "200"] });
  expect(differencesOf([[stageAt(5, 40)], "text"], [[even], "chat"])).toEqual({
    arrivals: ["Poisson", "constant"],
    maxConcurrency: ["no limit", "64"],
    promptForm: ["text", "chat"],
  });
  expect(differencesOf([[stageAt(5, 40)], "text"], [[stageAt(5, 50)], "text"])).toEqual({});
});
