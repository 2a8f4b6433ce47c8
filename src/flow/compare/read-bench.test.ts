import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { madeUpRequest, stageOf } from "../../../tests/load-stage.ts";
import { madeUpVariant } from "../../../tests/made-up-comparison.ts";
import { summarise } from "../../bench/distribution.ts";
import { recordsFile } from "../../bench/sweep.ts";
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
    becameClosed: false,
    outputTokensPerSecond,
    durationMs: 1000,
    ttftMs: latency,
    tpotMs: latency,
    e2eMs: latency,
    itlMs: latency,
    ttftFromDueMs: latency,
    e2eFromDueMs: latency,
    meanInFlight: 1,
    requestsPerSecond: 1,
    totalTokensPerSecond: 1,
    numRequests: 10,
    numErrors: 0,
    numCensored: 0,
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

test("requests that were cut off are counted over the rounds, and the most of them are told", () => {
  const cut = { ...stageAt(5, 40), numCensored: 2 };
  const { levels, notes } = readBench("a", [roundOf([stageAt(2, 20), cut]), roundOf([stageAt(2, 20), cut])]);
  expect(levels.map(({ numCensored }) => numCensored)).toEqual([0, 4]);
  expect(notes).toEqual([
    "a: requests that were in flight when a load was cut off are in none of its latencies, at most 4 of 20 (5 requests/s).",
  ]);
});

/** Requests that a limit held back: each was sent 80 ms after the one before, and due after 5 ms; times from either. */
function heldBack() {
  const requests = [0, 1, 2, 3].map((index) => {
    const sentMs = 80 * index;
    const times = { dueMs: 5 * index, sentMs, chunkMs: [sentMs + 10, sentMs + 80] };
    return madeUpRequest({ index, ...times, promptTokens: 4, outputTokens: 2 });
  });
  const { concurrency: _, ...figures } = stageOf(requests, { durationMs: 320, concurrency: 1 });
  const stage: RateStage = {
    ...figures,
    requestRate: 200,
    burstiness: "inf",
    arrivals: "constant",
    maxConcurrency: 1,
    becameClosed: true,
    ttftFromDueMs: summarise([10, 85, 160, 235]),
    e2eFromDueMs: summarise([80, 155, 230, 305]),
  };
  return { requests, stage };
}

test("times of an open loop run from when requests were due, whether they are kept or not, and a limit is told", () => {
  const { requests, stage } = heldBack();
  const folder = mkdtempSync(path.join(os.tmpdir(), "read-bench-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  writeFileSync(
    path.join(folder, recordsFile(stage)),
    requests.map((request) => `${JSON.stringify(request)}\n`).join(""),
  );
  const round = roundOf([stage]);
  for (const place of [null, folder]) {
    const { levels, notes } = readBench("b", [{ ...round, folder: place }]);
    expect(levels[0]).toMatchObject({
      ttftMs: { mean: 122.5, p50: 122.5 },
      tpotMs: { mean: 70 },
      e2eMs: { mean: 192.5 },
      rounds: [{ ttftMs: 122.5, tpotMs: 70, e2eMs: 192.5 }],
    });
    expect(notes).toEqual([
      "b, 200 requests/s: 1 in flight was reached, and requests waited for others; from then on it was a closed loop.",
    ]);
  }
  expect(readBench("b", [roundOf([stageAt(5, 40)])]).notes).toEqual([]);
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

test("a setting that one run does not have is listed without a value", () => {
  const [without, having] = [null, "native avx2, 2 threads"].map((kernels, index) => {
    const { record } = roundOf([stageAt(5, 40)]);
    const told = { ...record, origin: { ...record.origin, kernels } };
    const { settings } = readBench(String(index), [{ record: told, folder: null }]);
    const variant = madeUpVariant(String(index), { settings });
    return { variant, evaluation: null, kvCache: null, measurements: [] };
  });
  const request = { title: "", slo: [], pricePerHour: null, notes: [], aim: null };
  expect(composeComparison([without!, having!], request).differences).toEqual([
    { setting: "kernels", values: [null, "native avx2, 2 threads"] },
  ]);
});

test("a level tells the spread of its own slices, over its rounds, with nothing to compare it with", () => {
  const ofRates = (...rates: readonly number[]): RateStage => ({
    ...stageAt("inf", 100),
    slices: rates.map((outputTokensPerSecond) => ({
      numRequests: 1,
      outputTokensPerSecond,
      ttftMs: 10,
      tpotMs: null,
      e2eMs: 20,
    })),
  });
  const spreadOf = (...rounds: readonly RateStage[]) =>
    readBench(
      "b",
      rounds.map((stage) => roundOf([stage])),
    ).levels[0]!.spread;
  const apart = spreadOf(ofRates(100), ofRates(110));
  // Student's t of two logarithms: 12.706 standard errors of half of ln 1.1.
  expect(apart.outputTokensPerSecond!).toBeCloseTo(Math.expm1((12.706 * Math.log(1.1)) / 2), 2);
  expect(apart).toMatchObject({ ttftMs: 0, tpotMs: null, e2eMs: 0 });
  expect(spreadOf(ofRates(100)).outputTokensPerSecond).toBeNull();
});
