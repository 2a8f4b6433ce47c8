import type { Variant } from "../src/records/comparison.ts";
import type { LoadLevel } from "../src/records/load-level.ts";

/** A round of which nothing but the throughput is known. */
export function roundAt(outputTokensPerSecond: number): LoadLevel["rounds"][number] {
  return { outputTokensPerSecond, ttftMs: null, tpotMs: null, e2eMs: null };
}

/** A level of a closed loop with a few round figures, changed as asked. */
export function madeUpLevel(change: Partial<LoadLevel> = {}): LoadLevel {
  return {
    kind: "closed",
    asked: 1,
    inFlight: 1,
    requestsPerSecond: 2,
    outputTokensPerSecond: 100,
    totalTokensPerSecond: 200,
    medians: null,
    ttftMs: null,
    tpotMs: null,
    itlMs: null,
    e2eMs: null,
    numRequests: 8,
    numErrors: 0,
    numCensored: 0,
    firstError: null,
    errorsByKind: {},
    faults: [],
    slices: [],
    spread: { outputTokensPerSecond: null, ttftMs: null, tpotMs: null, e2eMs: null },
    rounds: [roundAt(100)],
    quantiles: null,
    timeline: null,
    ...change,
  };
}

/** A variant of which nothing is known but its name, changed as asked. */
export function madeUpVariant(name: string, change: Partial<Variant> = {}): Variant {
  return {
    name,
    weights: null,
    runAs: null,
    sizeBytes: null,
    evaluation: null,
    engine: null,
    serving: null,
    levels: [],
    hashes: { weights: null, answers: null },
    settings: {},
    failure: null,
    ...change,
  };
}
