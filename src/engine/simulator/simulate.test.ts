import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { generate, startContextEngine } from "../../../tests/context-engine.ts";
import type { ServingName } from "./create-serving.ts";
import { type SimulatedRequest, type SimulationSettings, simulate } from "./simulate.ts";
import type { StepCostModel } from "./step-cost-model.ts";

const blockSize = 4;
const servings: readonly ServingName[] = ["continuous", "contiguous", "dynamic", "static"];

/** A step takes 1 ms, a prefill token 0.1 ms, a drawing sequence 0.5 ms. */
const costs: StepCostModel = {
  fixedMs: 1,
  tokens: [{ above: 0, perUnitMs: 0.1 }],
  perSequenceMs: 0.4,
  context: [{ above: 0, perUnitMs: 0 }],
  perPrefillPairMs: 0,
  requestMs: 0,
};

interface Knobs {
  readonly serving?: ServingName;
  readonly numBlocks?: number;
  readonly numHostBlocks?: number;
  readonly maxNumSeqs?: number;
  readonly maxNumBatchedTokens?: number;
  readonly longPrefillTokenThreshold?: number;
  readonly maxNumQueuedRequests?: number;
  readonly batchTimeoutMs?: number;
  readonly isPrefixCaching?: boolean;
  readonly costs?: StepCostModel;
}

function settings(knobs: Knobs = {}): SimulationSettings {
  const { maxNumSeqs = 8, maxNumBatchedTokens = 64, numBlocks = 64, longPrefillTokenThreshold = 0 } = knobs;
  return {
    serving: knobs.serving ?? "continuous",
    limits: { maxNumSeqs, maxNumBatchedTokens, longPrefillTokenThreshold },
    victims: "lifo",
    blockSize,
    blockBytes: 1000,
    numBlocks,
    numHostBlocks: knobs.numHostBlocks ?? 0,
    isPrefixCaching: knobs.isPrefixCaching ?? true,
    batchTimeoutMs: knobs.batchTimeoutMs ?? 5,
    admission: {
      schedulingPolicy: "fcfs",
      tenantWeights: new Map(),
      usesPriority: false,
      maxNumSeqs,
      maxNumBatchedTokens,
      maxNumQueuedRequests: knobs.maxNumQueuedRequests ?? 1000,
      maxNumQueuedTokens: 0,
      maxNumQueuedRequestsPerTenant: 0,
    },
    targets: { ttftMs: 10, tpotMs: 5, e2eMs: Infinity },
    costs: knobs.costs ?? costs,
  };
}

function request(fields: Partial<SimulatedRequest> = {}): SimulatedRequest {
  const { numOutputTokens = 3 } = fields;
  return {
    arrivalMs: 0,
    numPromptTokens: 11,
    numOutputTokens,
    maxTokens: numOutputTokens,
    hashIds: [],
    scheduling: undefined,
    ...fields,
  };
}

const lengths = fc.record({
  waitMs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 40 })),
  numPromptTokens: fc.integer({ min: 1, max: 40 }),
  numOutputTokens: fc.integer({ min: 1, max: 20 }),
  numAskedMore: fc.nat(20),
  hash: fc.option(fc.nat(2)),
  deadlineMs: fc.option(fc.integer({ min: 1, max: 200 }), { freq: 5 }),
});

const traces = fc.array(lengths, { minLength: 1, maxLength: 25 }).map((parts) => {
  let arrivalMs = 0;
  return parts.map(({ waitMs, numAskedMore, hash, deadlineMs, ...rest }) => {
    arrivalMs += waitMs;
    return request({
      ...rest,
      arrivalMs,
      maxTokens: rest.numOutputTokens + numAskedMore,
      hashIds: hash === null ? [] : [hash],
      scheduling: deadlineMs === null ? undefined : { deadlineMs },
    });
  });
});

const knobs = fc.record({
  serving: fc.constantFrom(...servings),
  // The longest request above takes 79 tokens: 20 blocks.
  numBlocks: fc.integer({ min: 20, max: 60 }),
  numHostBlocks: fc.constantFrom(0, 10),
  maxNumSeqs: fc.integer({ min: 1, max: 6 }),
  maxNumBatchedTokens: fc.integer({ min: 6, max: 64 }),
  longPrefillTokenThreshold: fc.constantFrom(0, 0, 5),
  maxNumQueuedRequests: fc.constantFrom(3, 1000),
  batchTimeoutMs: fc.constantFrom(0, 5, 50),
});

describe("laws of every serving policy", () => {
  test("every request ends exactly once", () => {
    fc.assert(
      fc.property(traces, knobs, (trace, given) => {
        const result = simulate(trace, settings(given));
        const numFailed = Object.values(result.failures).reduce((sum, count) => sum + count, 0);
        expect(result.numFinished + numFailed).toBe(trace.length);
        expect(result.e2eMs?.count ?? 0).toBe(result.numFinished);
        expect(result.numGood).toBeLessThanOrEqual(result.numFinished);
        expect(result.busyMs).toBeLessThanOrEqual(result.durationMs + 1e-6);
        expect(result.meanHeldShare).toBeLessThanOrEqual(1);
      }),
      { numRuns: 1000 },
    );
  });

  test("as many tokens are computed as lengths say, less hits, and again what preemption took", () => {
    fc.assert(
      fc.property(traces, knobs, (given, limits) => {
        const trace = given.map((each) => ({ ...each, scheduling: undefined }));
        const result = simulate(trace, settings({ ...limits, maxNumQueuedRequests: 1000 }));
        const numTokens = trace.reduce((sum, r) => sum + r.numPromptTokens + r.numOutputTokens - 1, 0);
        const { numHitTokens, numLostTokens, numPreemptions } = result.totals;
        expect(result.numFinished).toBe(trace.length);
        expect(result.numOutputTokens).toBe(trace.reduce((sum, r) => sum + r.numOutputTokens, 0));
        expect(result.itlMs?.count ?? 0).toBe(result.numOutputTokens - trace.length);
        if (numPreemptions === 0) expect(result.numComputedTokens).toBe(numTokens - numHitTokens);
        // A preempted one may find in the prefix cache what it lost, and more.
        expect(result.numComputedTokens).toBeLessThanOrEqual(numTokens - numHitTokens + numLostTokens);
      }),
      { numRuns: 1000 },
    );
  });

  test("equal inputs give equal results", () => {
    fc.assert(
      fc.property(traces, knobs, (trace, given) => {
        expect(simulate(trace, settings(given))).toEqual(simulate(trace, settings(given)));
      }),
      { numRuns: 200 },
    );
  });
});

describe("the engine itself", () => {
  test("takes the same steps, preempts as often and loses as many tokens as the simulated one", async () => {
    const cases = fc.record({
      // No two begin alike, so that neither world shares anything.
      lengths: fc.array(fc.tuple(fc.integer({ min: 1, max: 30 }), fc.integer({ min: 1, max: 20 })), {
        minLength: 1,
        maxLength: 16,
      }),
      numBlocks: fc.integer({ min: 13, max: 40 }),
      maxNumSeqs: fc.integer({ min: 1, max: 8 }),
      maxNumBatchedTokens: fc.integer({ min: 8, max: 40 }),
      longPrefillTokenThreshold: fc.constantFrom(0, 7),
    });
    let numPreemptions = 0;
    await fc.assert(
      fc.asyncProperty(cases, async ({ lengths: pairs, ...limits }) => {
        const { client } = startContextEngine(limits);
        await Promise.all(
          pairs.map(([numPromptTokens, maxTokens], index) => {
            const prompt = Array.from({ length: numPromptTokens }, (_, at) => (at === 0 ? index : 1));
            return generate(client, prompt, { maxTokens });
          }),
        );
        const stats = await client.stats();
        await client.close();
        const trace = pairs.map(([numPromptTokens, numOutputTokens]) =>
          request({ numPromptTokens, numOutputTokens }),
        );
        const { numSteps, totals } = simulate(trace, settings(limits));
        expect(numSteps).toBe(stats.numSteps);
        expect(totals.numPreemptions).toBe(stats.numPreemptions);
        expect(totals.numLostTokens).toBe(stats.numRecomputedTokens);
        numPreemptions += totals.numPreemptions;
      }),
      { numRuns: 100, seed: 1 },
    );
    expect(numPreemptions).toBeGreaterThan(0);
  });
});

describe("figures of a run", () => {
  test("one request alone: 10 prefill tokens and a draw, then two draws", () => {
    const result = simulate([request()], settings());
    // 1 + 10 · 0.1 + 0.5, then 1 + 0.5 twice.
    expect(result.ttftMs!.p50).toBeCloseTo(2.5, 9);
    expect(result.itlMs).toMatchObject({ count: 2, p50: 1.5, max: 1.5 });
    expect(result.e2eMs!.p50).toBeCloseTo(5.5, 9);
    expect(result).toMatchObject({ numSteps: 3, numComputedTokens: 13, numGood: 1, numOutputTokens: 3 });
    expect(result.durationMs).toBeCloseTo(5.5, 9);
  });

  test("time waits for the next arrival, and the wait is not busy", () => {
    const result = simulate([request(), request({ arrivalMs: 100 })], settings());
    expect(result.durationMs).toBeCloseTo(105.5, 9);
    expect(result.busyMs).toBeCloseTo(11, 9);
  });

  test("what a request takes outside of steps comes before its first token, and no step waits for it", () => {
    const late = settings({ costs: { ...costs, requestMs: 4 } });
    const result = simulate([request(), request({ arrivalMs: 1 })], late);
    // The engine hears of the second at 5, in the first one's first step, which ends at 6.5; both draw at 9.5.
    expect(result.ttftMs!.p50).toBeCloseTo((6.5 + 8.5) / 2, 9);
    expect(result.ttftMs!.max).toBeCloseTo(8.5, 9);
    expect(result.busyMs).toBeCloseTo(result.durationMs - 4, 9);
  });

  test("a shared prefix is computed once for all", () => {
    const shared = Array.from({ length: 4 }, () => request({ numPromptTokens: 33, hashIds: [5] }));
    const result = simulate(shared, settings());
    // 32 tokens each may be hit, all but the last, which is drawn after.
    expect(result.totals.numHitTokens).toBe(3 * 32);
    expect(result.numComputedTokens).toBe(33 + 3 * 1 + 4 * 2);
    const { totals } = simulate(shared, settings({ isPrefixCaching: false }));
    expect(totals.numHitTokens).toBe(0);
  });

  test("admission refuses what finds the queue full and ends what passes its deadline", () => {
    const crowd = Array.from({ length: 6 }, () => request({ numOutputTokens: 10, maxTokens: 10 }));
    const full = simulate(crowd, settings({ maxNumSeqs: 1, maxNumQueuedRequests: 2 }));
    expect(full).toMatchObject({ numFinished: 2, failures: { engine_overloaded: 4 } });
    const late = request({ numOutputTokens: 100, scheduling: { deadlineMs: 20 } });
    expect(simulate([late], settings())).toMatchObject({ failures: { deadline_exceeded: 1 } });
  });
});

describe("baselines", () => {
  /** Two short answers and a long one that come together, then a fourth request. */
  const mixed = [
    request({ numOutputTokens: 2, maxTokens: 2 }),
    request({ numOutputTokens: 40, maxTokens: 40 }),
    request({ arrivalMs: 10, numOutputTokens: 2, maxTokens: 2 }),
  ];

  test("static batching lets a newcomer wait for the longest answer, continuous does not", () => {
    const wait = (serving: ServingName): number =>
      simulate(mixed, settings({ serving, maxNumSeqs: 2 })).ttftMs!.max;
    expect(wait("continuous")).toBeLessThan(5);
    // The long answer ends at about 1 + 2 · 1.5 + 39 steps of 1.5 ms.
    expect(wait("static")).toBeGreaterThan(45);
    expect(wait("dynamic")).toBeGreaterThan(45);
  });

  test("static batching waits until a batch is full, or no more come; dynamic no longer than its timeout", () => {
    const pair = [request(), request({ arrivalMs: 30 })];
    const full = simulate(pair, settings({ serving: "static", maxNumSeqs: 2 }));
    expect(full.ttftMs!.max).toBeGreaterThan(30);
    const dynamic = simulate(pair, settings({ serving: "dynamic", maxNumSeqs: 2, batchTimeoutMs: 5 }));
    expect(dynamic.ttftMs!.max).toBeCloseTo(5 + 2.5, 9);
    const last = simulate([request()], settings({ serving: "static", maxNumSeqs: 2 }));
    expect(last.ttftMs!.max).toBeCloseTo(2.5, 9);
  });

  test("contiguous KV runs fewer together than paged KV where clients ask for more than they get", () => {
    const greedy = Array.from({ length: 16 }, () => request({ numPromptTokens: 8, maxTokens: 57 }));
    // 32 blocks of 4 tokens: two reservations of 64 tokens.
    const limits = { numBlocks: 32, maxNumSeqs: 16, maxNumBatchedTokens: 256 };
    const contiguous = simulate(greedy, settings({ ...limits, serving: "contiguous" }));
    const paged = simulate(greedy, settings(limits));
    expect(contiguous.meanSequences).toBe(2);
    expect(contiguous.meanHeldShare).toBe(1);
    expect(paged.meanSequences).toBeGreaterThan(8);
    expect(paged.durationMs).toBeLessThan(contiguous.durationMs);
  });
});
