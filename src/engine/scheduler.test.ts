import assert from "node:assert/strict";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { SchedulerLimits } from "./scheduler.ts";
import { type Arrival, outputAlone, runWorld, type World } from "./test-world.ts";

const blockSize = 4;
/** Random histories of each property. */
const numRuns = 2000;

const recomputing = { token: 0, block: 1 };
const swapping = { token: 1, block: 0 };
/** Swapping pays never, always, and where the tail holds more than a few tokens. */
const costs = [recomputing, swapping, { token: 1, block: 2.5 }] as const;

const prompts = fc.oneof(
  // Few texts with long common beginnings: what prefix caching is for.
  fc
    .record({ length: fc.integer({ min: 1, max: 30 }), twist: fc.nat(30) })
    .map(({ length, twist }) => Array.from({ length }, (_, index) => (index < twist ? 1 : (index * 7) % 3))),
  fc.array(fc.nat(2), { minLength: 1, maxLength: 12 }),
);

const arrivals: fc.Arbitrary<Arrival> = fc
  .record({
    step: fc.nat(30),
    prompt: prompts,
    maxTokens: fc.integer({ min: 1, max: 20 }),
    abortStep: fc.option(fc.nat(60), { freq: 3 }),
    isScore: fc.nat(5),
    cacheSalt: fc.constantFrom(undefined, undefined, "blue"),
    priority: fc.nat(2),
    tenant: fc.constantFrom("gold", "tin"),
  })
  .map(({ isScore, cacheSalt, ...rest }) => ({
    ...rest,
    ...(cacheSalt === undefined ? {} : { cacheSalt }),
    ...(isScore === 0 && rest.prompt.length > 1
      ? { scoreStart: 1 + ((rest.step * 5) % (rest.prompt.length - 1)) }
      : {}),
  }));

const worlds: fc.Arbitrary<World> = fc
  .record({
    maxNumSeqs: fc.integer({ min: 1, max: 6 }),
    spareTokens: fc.nat(20),
    longPrefillTokenThreshold: fc.constantFrom(0, 0, 1, 3, 7),
    spareBlocks: fc.nat(12),
    numHostBlocks: fc.constantFrom(0, 2, 30),
    isSharing: fc.boolean(),
    policy: fc.constantFrom("fcfs" as const, "priority" as const, "fair" as const),
    victims: fc.constantFrom("lifo" as const, "fifo" as const, "priority" as const, "size" as const),
    costs: fc.constantFrom(...costs),
    numDrafts: fc.constantFrom(0, 0, 1, 3),
    resetSteps: fc.array(fc.nat(60), { maxLength: 1 }),
    isChecking: fc.nat(5).map((pick) => pick === 0),
    arrivals: fc.array(arrivals, { minLength: 1, maxLength: 12 }),
  })
  .map(({ maxNumSeqs, spareTokens, longPrefillTokenThreshold, spareBlocks, ...rest }) => {
    const sorted = rest.arrivals.toSorted((a, b) => a.step - b.step);
    const largest = Math.max(
      ...sorted.map((a) => Math.ceil((a.prompt.length + a.maxTokens - 1) / blockSize)),
    );
    return {
      ...rest,
      blockSize,
      limits: { maxNumSeqs, maxNumBatchedTokens: maxNumSeqs + spareTokens, longPrefillTokenThreshold },
      numBlocks: largest + spareBlocks,
      arrivals: sorted,
    };
  });

interface Short {
  readonly step?: number;
  readonly promptTokens?: number;
  readonly maxTokens?: number;
}

/** Sequences without anything in common. */
function world(short: Short[], numBlocks: number, limits: Partial<SchedulerLimits> = {}): World {
  return {
    limits: { maxNumSeqs: 8, maxNumBatchedTokens: 16, longPrefillTokenThreshold: 0, ...limits },
    blockSize,
    numBlocks,
    numHostBlocks: 0,
    isSharing: true,
    policy: "fcfs",
    victims: "lifo",
    costs: recomputing,
    numDrafts: 0,
    arrivals: short.map(({ step = 0, promptTokens = 4, maxTokens = 4 }, index) => ({
      step,
      prompt: Array.from({ length: promptTokens }, () => 10 + index),
      maxTokens,
      abortStep: null,
    })),
  };
}

/** A large sequence and the small ones that come all the time. */
const streams = fc
  .record({
    large: fc.record({
      promptTokens: fc.integer({ min: 20, max: 60 }),
      maxTokens: fc.integer({ min: 5, max: 20 }),
    }),
    small: fc.record({
      promptTokens: fc.integer({ min: 1, max: 6 }),
      maxTokens: fc.integer({ min: 3, max: 20 }),
    }),
    maxNumSeqs: fc.integer({ min: 2, max: 5 }),
    longPrefillTokenThreshold: fc.constantFrom(0, 1, 3),
    spareBlocks: fc.nat(12),
    numHostBlocks: fc.constantFrom(0, 30),
    isSharing: fc.boolean(),
    policy: fc.constantFrom("fcfs" as const, "fair" as const),
    victims: fc.constantFrom("lifo" as const, "fifo" as const, "priority" as const, "size" as const),
    costs: fc.constantFrom(...costs),
  })
  .map(({ maxNumSeqs, longPrefillTokenThreshold, ...rest }) => ({
    ...rest,
    limits: { maxNumSeqs, maxNumBatchedTokens: maxNumSeqs + 10, longPrefillTokenThreshold },
  }));

describe("scheduler laws", () => {
  test("every history keeps the budget, ends every sequence, returns every block and draws what each draws alone", () => {
    fc.assert(
      fc.property(worlds, (history) => {
        const { finished, outputs, counters } = runWorld(history);
        expect(counters.get("numPrefixMismatches")).toBe(0);
        for (const [sequence, arrival] of history.arrivals.entries()) {
          if (arrival.abortStep !== null) continue;
          expect(finished.filter((other) => other === sequence)).toEqual([sequence]);
          if (arrival.scoreStart === undefined) expect(outputs.get(sequence)).toEqual(outputAlone(arrival));
        }
      }),
      { numRuns: 5 * numRuns },
    );
  });

  test("equal histories give equal plans", () => {
    fc.assert(
      fc.property(worlds, (history) => {
        expect(runWorld(history)).toEqual(runWorld(history));
      }),
      { numRuns: numRuns / 4 },
    );
  });

  test("first come, first served: without common prefixes nobody starts before an older one has started", () => {
    fc.assert(
      fc.property(worlds, (history) => {
        const started: number[] = [];
        for (const { planned } of runWorld({ ...history, isSharing: false, policy: "fcfs" }).steps) {
          for (const { sequence } of planned) if (!started.includes(sequence)) started.push(sequence);
        }
        expect(started).toEqual([...started].sort((a, b) => a - b));
      }),
      { numRuns: numRuns / 2 },
    );
  });

  test("nobody starves in a flood: by arrival and by shares, what came early ends while later ones still wait", () => {
    const numInFlood = 250;
    const flood = fc.array(
      fc.record({ prompt: prompts, maxTokens: fc.integer({ min: 4, max: 8 }), isCrowd: fc.boolean() }),
      { minLength: 1, maxLength: 8 },
    );
    const settings = fc.record({
      policy: fc.constantFrom("fcfs" as const, "fair" as const),
      victims: fc.constantFrom("lifo" as const, "fifo" as const, "size" as const),
      isSharing: fc.boolean(),
      prompt: fc.array(fc.nat(2), { minLength: 1, maxLength: 8 }),
      flood,
    });
    fc.assert(
      fc.property(settings, ({ prompt, flood: kinds, ...rest }) => {
        const patient = { prompt, maxTokens: 4, abortStep: null, tenant: "patient" };
        // One comes each step, of a crowd or a tenant of its own: more than two places can serve.
        const others = Array.from({ length: numInFlood }, (_, index) => {
          const { isCrowd, ...kind } = kinds[index % kinds.length]!;
          return { step: index, ...kind, abortStep: null, tenant: isCrowd ? "crowd" : `newcomer ${index}` };
        });
        const arrivals = [{ ...patient, step: 0 }, ...others, { ...patient, step: 20 }];
        const limits = { maxNumSeqs: 2, maxNumBatchedTokens: 16 };
        const history = {
          ...world([], 20, limits),
          ...rest,
          arrivals: arrivals.toSorted((a, b) => a.step - b.step),
        };
        const { finished } = runWorld(history);
        const mine = history.arrivals.findLastIndex(({ tenant }) => tenant === "patient");
        expect(finished.length - finished.indexOf(mine)).toBeGreaterThan(numInFlood / 5);
      }),
      { numRuns: numRuns / 40 },
    );
  });

  test("by priority: nobody starts while one of a lower number, or of the same and older, has not started", () => {
    fc.assert(
      fc.property(worlds, (history) => {
        const rank = (sequence: number): number => history.arrivals[sequence]!.priority! * 1000 + sequence;
        const started = new Set<number>();
        for (const { planned, open } of runWorld({ ...history, isSharing: false, policy: "priority" })
          .steps) {
          const fresh = planned.map(({ sequence }) => sequence).filter((sequence) => !started.has(sequence));
          for (const sequence of fresh) started.add(sequence);
          const passedOver = open.filter((sequence) => !started.has(sequence));
          for (const sequence of fresh)
            for (const other of passedOver)
              assert(rank(sequence) < rank(other), `${sequence} before ${other}`);
        }
      }),
      { numRuns: numRuns / 2 },
    );
  });

  test("each step serves the oldest open sequence, and computes nothing of it twice from then on", () => {
    fc.assert(
      fc.property(worlds, (history) => {
        const { steps } = runWorld({ ...history, isSharing: false, policy: "fcfs", victims: "lifo" });
        let oldest = -1;
        let next = 0;
        for (const { planned, open } of steps.filter((step) => step.open.length > 0)) {
          const mine = planned.find(({ sequence }) => sequence === Math.min(...open));
          assert(mine !== undefined, `sequence ${Math.min(...open)} is the oldest and idle`);
          // Guesses that were wrong are computed again.
          if (mine.sequence === oldest && history.numDrafts === 0) assert.equal(mine.first, next);
          oldest = mine.sequence;
          next = mine.first + mine.count;
        }
      }),
      { numRuns: numRuns / 2 },
    );
  });

  test("nobody starves: one that is large ends beside an endless stream of small ones, whoever gives way", () => {
    fc.assert(
      fc.property(streams, ({ large, small, ...rest }) => {
        const stepsOf = ({ promptTokens, maxTokens }: Required<Omit<Short, "step">>): number =>
          Math.ceil(promptTokens / (rest.limits.longPrefillTokenThreshold || Infinity)) + maxTokens;
        const newcomers = Array.from({ length: 120 }, (_, step) => ({ ...small, step }));
        const { arrivals } = world([large, ...newcomers], 0);
        const tenants = ["large", "small"];
        const numBlocks = Math.ceil((large.promptTokens + large.maxTokens) / blockSize) + rest.spareBlocks;
        const { finished } = runWorld({
          ...world([], numBlocks),
          ...rest,
          arrivals: arrivals.map((arrival, index) => ({ ...arrival, tenant: tenants[Math.min(index, 1)]! })),
        });
        // As many as end while it runs its steps, twice over for what it loses and waits.
        const beside = Math.ceil((2 * stepsOf(large)) / stepsOf(small)) + 1;
        expect(finished.indexOf(0)).toBeLessThanOrEqual(rest.limits.maxNumSeqs * beside);
      }),
      { numRuns: numRuns / 20 },
    );
  });

  test("the sequence that starts first is never preempted and never idle, hits and all", () => {
    fc.assert(
      fc.property(worlds, (history) => {
        const quiet = history.arrivals.map((a) => ({ ...a, abortStep: null }));
        const { steps, finished } = runWorld({
          ...history,
          policy: "fcfs",
          victims: "lifo",
          numDrafts: 0,
          arrivals: quiet,
        });
        const [oldest] = steps.flatMap((step) => step.planned.map((p) => p.sequence));
        let next = 0;
        for (const { planned } of steps) {
          const mine = planned.find((p) => p.sequence === oldest);
          if (mine === undefined) continue;
          assert.equal(mine.first, next);
          next += mine.count;
        }
        expect(finished).toContain(oldest);
      }),
      { numRuns: numRuns / 2 },
    );
  });
});

describe("scheduler", () => {
  test("mixes decode and prefill in one step and cuts a long prompt into chunks", () => {
    const { steps } = runWorld(world([{ maxTokens: 8 }, { step: 1, promptTokens: 30 }], 20));
    expect(steps[1]!.planned).toEqual([
      { sequence: 0, first: 4, count: 1 },
      { sequence: 1, first: 0, count: 15 },
    ]);
    expect(steps[2]!.planned[1]).toEqual({ sequence: 1, first: 15, count: 15 });
  });

  test("lets later prompts in beside a long one under a threshold", () => {
    const long = { promptTokens: 30, maxTokens: 1 };
    const { steps } = runWorld(world([long, { maxTokens: 1 }], 20, { longPrefillTokenThreshold: 6 }));
    expect(steps[0]!.planned.map((p) => p.count)).toEqual([6, 4]);
  });

  test("takes 63, 32, 125 and 50 blocks of 16 for prompts of 1,000, 500, 2,000 and 800 tokens", () => {
    const lengths = [1000, 500, 2000, 800];
    const numBlocks = [63, 32, 125, 50];
    const limits = { maxNumBatchedTokens: 8192 };
    for (const [index, promptTokens] of lengths.entries()) {
      const alone = { ...world([{ promptTokens, maxTokens: 1 }], numBlocks[index]!, limits), blockSize: 16 };
      expect(runWorld(alone).finished).toEqual([0]);
      expect(() => runWorld({ ...alone, numBlocks: numBlocks[index]! - 1 })).toThrow("nothing to do");
    }
    const all = lengths.map((promptTokens) => ({ promptTokens, maxTokens: 1 }));
    // One block must be left for each that runs already.
    const { steps } = runWorld({ ...world(all, 270 + 3, limits), blockSize: 16 });
    expect(steps[0]!.planned.map((p) => p.count)).toEqual(lengths);
  });

  test("preempts the newest when no block is free, and takes only the tail that is needed", () => {
    const sequences = [
      { promptTokens: 8, maxTokens: 13 },
      { promptTokens: 8, maxTokens: 13 },
    ];
    const { steps, finished, counters } = runWorld(world(sequences, 7));
    expect(counters.get("numPreemptions")).toBeGreaterThan(0);
    expect(finished).toEqual([0, 1]);
    expect(counters.get("numRecomputedTokens")).toBeGreaterThan(0);
    const restarts = steps.flatMap((s) => s.planned).filter((p) => p.sequence === 1 && p.first === 0);
    expect(restarts.length).toBe(1);
  });

  test("swaps instead of computing again where that is cheaper, and computes no token twice", () => {
    const sequences = [
      { promptTokens: 8, maxTokens: 13 },
      { promptTokens: 8, maxTokens: 13 },
    ];
    const history = { ...world(sequences, 7), numHostBlocks: 8, costs: swapping };
    const { numComputedTokens, counters } = runWorld(history);
    expect(counters.get("numPreemptions")).toBeGreaterThan(0);
    expect(counters.get("numSwappedBlocks")).toBeGreaterThan(0);
    expect(numComputedTokens).toBe(2 * (8 + 12));
  });

  test("does not start a prompt whose blocks are not all free", () => {
    const sequences = [
      { promptTokens: 16, maxTokens: 2 },
      { promptTokens: 16, maxTokens: 1 },
    ];
    const { steps } = runWorld(world(sequences, 8));
    expect(steps[0]!.planned.map((p) => p.sequence)).toEqual([0]);
    expect(steps.find((s) => s.planned.some((p) => p.sequence === 1))!.planned.length).toBe(1);
  });
});

describe("prefix cache", () => {
  const shared = Array.from({ length: 90 }, (_, index) => index % 3);
  const together = (count: number): World => ({
    ...world([], 400, { maxNumSeqs: 40, maxNumBatchedTokens: 64 }),
    arrivals: Array.from({ length: count }, (_, index) => ({
      step: 0,
      prompt: [...shared, 10 + index, 11, 12],
      maxTokens: 2,
      abortStep: null,
    })),
  });

  test("computes a prefix once for all that arrive together, exact to the token", () => {
    const { numComputedTokens, counters } = runWorld(together(32));
    expect(numComputedTokens).toBe(90 + 32 * (3 + 1));
    expect(counters.get("prefixCacheHits")).toBe(31 * 90);
  });

  test("computes nothing twice for a text that was seen before, output included", () => {
    const first = together(1).arrivals[0]!;
    const again = { ...first, step: 20, prompt: [...first.prompt, ...outputAlone(first), 7] };
    const { steps } = runWorld({ ...together(1), arrivals: [first, again] });
    // The last drawn token of the first was never computed.
    const mine = steps.flatMap((s) => s.planned).find((p) => p.sequence === 1)!;
    expect(mine.first).toBe(first.prompt.length + 1);
  });

  test("shares nothing between salts", () => {
    const [first] = together(1).arrivals;
    const salted = { ...first!, step: 20, cacheSalt: "red" };
    const { counters } = runWorld({ ...together(1), arrivals: [first!, salted] });
    expect(counters.get("prefixCacheHits")).toBe(0);
  });
});
