import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { madeUpRequest } from "../../../tests/load-stage.ts";
import type { RequestRecord } from "../../records/bench.ts";
import { generatorFor, normal } from "../random.ts";
import { concurrencyOf } from "./concurrency.ts";
import { goodputOf, wilsonInterval } from "./goodput.ts";
import { throughputOf } from "./throughput.ts";
import { warmupOf } from "./warmup.ts";

/** Requests of any times; some fail, some are cut off. */
const anyRequest = fc
  .record({
    sentMs: fc.double({ min: 0, max: 5000, noNaN: true }),
    gaps: fc.array(fc.double({ min: 0, max: 200, noNaN: true }), { minLength: 1, maxLength: 20 }),
    promptTokens: fc.integer({ min: 1, max: 500 }),
    perChunk: fc.integer({ min: 1, max: 4 }),
    fate: fc.constantFrom("good", "good", "good", "http", "censored"),
  })
  .map(({ sentMs, gaps, promptTokens, perChunk, fate }, index = 0): RequestRecord => {
    let now = sentMs;
    const chunkMs = gaps.map((gap) => (now += gap));
    const tokens = { promptTokens, outputTokens: chunkMs.length * perChunk };
    const fault = fate === "good" ? {} : { error: fate, errorKind: fate as "http" | "censored" };
    return madeUpRequest({ index, sentMs, chunkMs, ...tokens, ...fault });
  });
const anyStage = fc.array(anyRequest, { minLength: 1, maxLength: 30 }).map((records) => ({
  records,
  durationMs: Math.max(...records.map(({ endMs }) => endMs)) + 1,
}));

test("input and output add up to the total in every throughput", () => {
  fc.assert(
    fc.property(anyStage, ({ records, durationMs }) => {
      const { offered, completed, steady } = throughputOf(records, {
        durationMs,
        offeredMs: null,
        numUnsent: 0,
      });
      for (const rates of [offered, completed, ...(steady === null ? [] : [steady])]) {
        const { inputTokensPerSecond, outputTokensPerSecond, totalTokensPerSecond } = rates;
        expect(inputTokensPerSecond + outputTokensPerSecond).toBe(totalTokensPerSecond);
      }
      expect(completed.requestsPerSecond).toBeLessThanOrEqual(offered.requestsPerSecond);
    }),
  );
});

test("requests in flight are those of Little's law, and the timeline holds them, all ends and all tokens", () => {
  fc.assert(
    fc.property(anyStage, ({ records, durationMs }) => {
      const { mean, max, p50, p90, timeline, spanMs } = concurrencyOf(records, durationMs);
      const busyMs = records.reduce((sum, { sentMs, endMs }) => sum + endMs - sentMs, 0);
      expect(mean).toBeCloseTo(busyMs / durationMs, 6);
      // Looked at where the number changes, by counting.
      const naive = records.map(
        ({ sentMs }) => records.filter((other) => other.sentMs <= sentMs && other.endMs > sentMs).length,
      );
      expect(max).toBe(Math.max(...naive));
      expect(p50).toBeLessThanOrEqual(p90);
      const lengthOf = (index: number): number => Math.min(spanMs, durationMs - index * spanMs) / 1000;
      const sumOf = (pick: (span: (typeof timeline)[number]) => number): number =>
        timeline.reduce((sum, span, index) => sum + pick(span) * lengthOf(index), 0);
      const good = records.filter(({ error }) => error === null);
      expect(sumOf((span) => span.inFlight)).toBeCloseTo(busyMs / 1000, 6);
      expect(sumOf((span) => span.requestsPerSecond)).toBeCloseTo(good.length, 6);
      const tokens = records.reduce((sum, { outputTokens }) => sum + outputTokens!, 0);
      expect(sumOf((span) => span.outputTokensPerSecond)).toBeCloseTo(tokens, 5);
    }),
  );
});

test("at its height a load is counted by when its tokens came, without the ramp and the drain", () => {
  // Ten requests begin one second apart and end together: all are in flight from 9 s to 20 s.
  const records = Array.from({ length: 10 }, (_, index) => {
    const sentMs = 1000 * index;
    const chunkMs = Array.from({ length: 200 - 10 * index }, (_each, i) => sentMs + 100 * (i + 1));
    return madeUpRequest({ index, sentMs, chunkMs, promptTokens: 5, outputTokens: chunkMs.length });
  });
  const { steady, completed } = throughputOf(records, { durationMs: 20_000, offeredMs: null, numUnsent: 0 });
  expect(steady).toMatchObject({ startMs: 9000, endMs: 20_000 });
  // Ten streams of ten tokens a second, against fewer over the whole stage.
  expect(steady!.outputTokensPerSecond).toBeCloseTo(100, 9);
  expect(completed.outputTokensPerSecond).toBeCloseTo(77.5, 1);
});

test("what was due and not sent is offered all the same", () => {
  const records = [0, 1].map((index) =>
    madeUpRequest({ index, sentMs: 0, chunkMs: [10], promptTokens: 4, outputTokens: 1 }),
  );
  const { offered } = throughputOf(records, { durationMs: 1000, offeredMs: 2000, numUnsent: 6 });
  expect(offered).toMatchObject({ requestsPerSecond: 4, inputTokensPerSecond: 16, outputTokensPerSecond: 4 });
});

describe("goodput", () => {
  test("Wilson's interval is that of the published example", () => {
    // Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I: 81 of 263, 15 of 148, 0 of 20.
    for (const [good, count, low, high] of [
      [81, 263, 0.2553, 0.3662],
      [15, 148, 0.0624, 0.1605],
      [0, 20, 0, 0.1611],
    ] as const) {
      const [below, above] = wilsonInterval(good, count);
      expect(below).toBeCloseTo(low, 3);
      expect(above).toBeCloseTo(high, 3);
    }
  });

  test("the bounds hold whatever becomes of what was cut off; errors are not good", () => {
    fc.assert(
      fc.property(
        anyStage,
        fc.double({ min: 1, max: 300, noNaN: true }),
        ({ records, durationMs }, maxMs) => {
          const targets = [{ metric: "ttft" as const, maxMs }];
          const { censoredBounds, numGood } = goodputOf(records, targets, durationMs);
          const finished = records.map((record) =>
            record.errorKind === "censored" ? { ...record, error: null, errorKind: null } : record,
          );
          const later = goodputOf(finished, targets, durationMs);
          expect(later.share).toBeGreaterThanOrEqual(censoredBounds[0] - 1e-12);
          expect(later.share).toBeLessThanOrEqual(censoredBounds[1] + 1e-12);
          expect(numGood).toBeLessThanOrEqual(records.filter(({ error }) => error === null).length);
        },
      ),
    );
  });

  test("counts from when a request was due", () => {
    const late = madeUpRequest({
      index: 0,
      dueMs: 0,
      sentMs: 90,
      chunkMs: [100],
      promptTokens: 1,
      outputTokens: 1,
    });
    expect(goodputOf([late], [{ metric: "ttft", maxMs: 50 }], 100).numGood).toBe(0);
  });
});

describe("warm-up", () => {
  /** Requests one after the other whose time for a token is what `msAt` says, give or take 5 %. */
  const stageWith = (msAt: (index: number) => number): RequestRecord[] => {
    const random = generatorFor(3, 3);
    let now = 0;
    return Array.from({ length: 80 }, (_, index) => {
      const each = msAt(index) * (1 + 0.05 * normal(random));
      const sentMs = now;
      now += 10 * each;
      const chunkMs = Array.from({ length: 10 }, (_each, i) => sentMs + each * (i + 1));
      return madeUpRequest({ index, sentMs, chunkMs, promptTokens: 1, outputTokens: 10 });
    });
  };

  test("is found where the first requests are slower", () => {
    expect(
      warmupOf(
        stageWith((index) => (index < 15 ? 30 : 10)),
        1,
      ),
    ).toMatchObject({ numRequests: 15 });
  });

  test("is none where all are alike, and none where the end is slower", () => {
    expect(
      warmupOf(
        stageWith(() => 10),
        1,
      ).numRequests,
    ).toBe(0);
    expect(
      warmupOf(
        stageWith((index) => (index > 60 ? 30 : 10)),
        1,
      ).numRequests,
    ).toBe(0);
  });

  /** Requests that differ by log-normal noise alone, the first `numSlow` of them slower by a factor. */
  const noisyStage = (count: number, spread: number, seed: number, [numSlow, factor] = [0, 1]) => {
    const random = generatorFor(seed, count);
    return Array.from({ length: count }, (_, index) => {
      const each = (index < numSlow ? factor : 1) * Math.exp(spread * normal(random));
      return madeUpRequest({
        index,
        sentMs: index,
        chunkMs: [index + each],
        promptTokens: 1,
        outputTokens: 1,
      });
    });
  };
  const lengths = [10, 12, 16, 24, 30, 40, 60, 80, 100];
  const numSets = 2000;

  test.each([0.1, 0.2, 0.4])("noise of %f alone seems one in at most 5 of 100 stages", (spread) => {
    for (const count of lengths) {
      const numFalse = Array.from(
        { length: numSets },
        (_, seed) => warmupOf(noisyStage(count, spread, seed), 1).numRequests > 0,
      ).filter(Boolean).length;
      expect(numFalse / numSets, `${count} requests`).toBeLessThanOrEqual(0.05);
    }
  });

  test("a first quarter that is twice as slow is found in noise of 20 %, with enough requests", () => {
    const numFound = Array.from({ length: 200 }, (_, seed) =>
      warmupOf(noisyStage(40, 0.2, seed, [10, 2]), 1),
    ).filter(({ numRequests }) => numRequests >= 10).length;
    expect(numFound).toBeGreaterThanOrEqual(190);
  });

  test("rounds of users who wait together are no more than single values", () => {
    const numFalse = Array.from({ length: 200 }, (_, seed) => {
      const rounds = noisyStage(8, 0.2, seed);
      // Sixteen users at once, all as slow as each other.
      const records = rounds.flatMap((record) => Array.from({ length: 16 }, () => record));
      return warmupOf(records, 16).numRequests > 0;
    }).filter(Boolean).length;
    expect(numFalse).toBeLessThanOrEqual(10);
  });

  test("a queue that grows is none", () => {
    expect(
      warmupOf(
        stageWith((index) => 10 + index),
        1,
      ).numRequests,
    ).toBe(0);
    expect(
      warmupOf(
        stageWith((index) => (index < 15 ? 3 : 10)),
        1,
      ).numRequests,
    ).toBe(0);
  });
});
