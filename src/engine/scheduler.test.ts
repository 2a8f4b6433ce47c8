import assert from "node:assert/strict";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BlockPool } from "./block-pool.ts";
import { Scheduler, type SchedulerLimits, type StepPlan } from "./scheduler.ts";
import { FcfsPolicy } from "./scheduling-policy.ts";
import { SequenceTable, sequenceKinds } from "./sequence-table.ts";

interface Arrival {
  /** Step before which it arrives. */
  readonly step: number;
  readonly promptTokens: number;
  readonly maxTokens: number;
  /** Step before which it is aborted, if it is still open. */
  readonly abortStep: number | null;
}

interface PlannedStep {
  readonly planned: { readonly sequence: number; readonly first: number; readonly count: number }[];
  readonly numRunning: number;
}

interface World {
  readonly limits: SchedulerLimits;
  readonly numBlocks: number;
  readonly arrivals: readonly Arrival[];
}

const blockSize = 4;

/** Runs a whole history without a model: a sequence that has caught up gets a token and ends after `maxTokens`. */
function simulate(world: World): { steps: PlannedStep[]; finished: number[]; numPreemptions: number } {
  const { arrivals } = world;
  const table = new SequenceTable(arrivals.length + 1, blockSize);
  const pool = new BlockPool(world.numBlocks);
  const scheduler = new Scheduler(world.limits, table, pool, new FcfsPolicy(table.capacity));
  const rows = new Map<number, number>();
  const steps: PlannedStep[] = [];
  const finished: number[] = [];
  const arrived = new Set<number>();
  for (let step = 0; arrived.size < arrivals.length || rows.size > 0; step += 1) {
    if (step > 5000) throw new Error("the history does not end");
    for (const [sequence, arrival] of arrivals.entries()) {
      const row = rows.get(sequence);
      if (row !== undefined && arrival.abortStep === step) {
        scheduler.remove(row);
        rows.delete(sequence);
      }
      if (arrived.has(sequence) || arrival.step > step) continue;
      arrived.add(sequence);
      const opened = table.open(
        sequence,
        sequenceKinds.generate,
        Array.from({ length: arrival.promptTokens }, () => 1),
      );
      rows.set(sequence, opened);
      scheduler.add(opened);
    }
    const plan = scheduler.schedule();
    checkPlan(plan, table, world.limits);
    const planned = Array.from({ length: plan.numSeqs }, (_, index) => {
      const row = plan.rows[index]!;
      return {
        sequence: table.handles[row]!,
        first: table.numComputed[row]!,
        count: plan.numNewTokens[index]!,
      };
    });
    steps.push({ planned, numRunning: scheduler.numRunning });
    scheduler.commit(plan);
    for (const { sequence } of planned) {
      const row = rows.get(sequence)!;
      if (table.numComputed[row] !== table.numTarget[row]) continue;
      table.append(row, 2);
      if (table.numOutputTokens(row) < arrivals[sequence]!.maxTokens) continue;
      finished.push(sequence);
      rows.delete(sequence);
      scheduler.remove(row);
    }
    pool.check();
  }
  expect(pool.numFree).toBe(pool.numBlocks);
  expect(table.numOpen).toBe(0);
  expect(scheduler.numRunning + scheduler.numWaiting).toBe(0);
  return { steps, finished, numPreemptions: scheduler.numPreemptions };
}

function checkPlan(plan: StepPlan, table: SequenceTable, limits: SchedulerLimits): void {
  let numTokens = 0;
  const seen = new Set<number>();
  const blocks = new Set<number>();
  for (let index = 0; index < plan.numSeqs; index += 1) {
    const row = plan.rows[index]!;
    const count = plan.numNewTokens[index]!;
    assert(!seen.has(row));
    seen.add(row);
    assert(count > 0);
    if (limits.longPrefillTokenThreshold > 0) assert(count <= limits.longPrefillTokenThreshold);
    numTokens += count;
    const end = table.numComputed[row]! + count;
    assert(end <= table.numTarget[row]!);
    assert(table.numBlocks[row]! * table.blockSize >= end);
    for (const block of table.blockTable(row).subarray(0, table.numBlocks[row])) {
      assert(!blocks.has(block));
      blocks.add(block);
    }
  }
  assert.equal(numTokens, plan.numTokens);
  assert(numTokens <= limits.maxNumBatchedTokens);
  assert(plan.numSeqs <= limits.maxNumSeqs);
}

const worlds: fc.Arbitrary<World> = fc
  .record({
    maxNumSeqs: fc.integer({ min: 1, max: 6 }),
    spareTokens: fc.nat(20),
    longPrefillTokenThreshold: fc.constantFrom(0, 0, 1, 3, 7),
    spareBlocks: fc.nat(12),
    arrivals: fc.array(
      fc.record({
        step: fc.nat(30),
        promptTokens: fc.integer({ min: 1, max: 30 }),
        maxTokens: fc.integer({ min: 1, max: 20 }),
        abortStep: fc.option(fc.nat(60)),
      }),
      { minLength: 1, maxLength: 12 },
    ),
  })
  .map(({ maxNumSeqs, spareTokens, longPrefillTokenThreshold, spareBlocks, arrivals }) => {
    const sorted = arrivals.sort((a, b) => a.step - b.step);
    const largest = Math.max(...sorted.map((a) => Math.ceil((a.promptTokens + a.maxTokens - 1) / blockSize)));
    return {
      limits: { maxNumSeqs, maxNumBatchedTokens: maxNumSeqs + spareTokens, longPrefillTokenThreshold },
      numBlocks: largest + spareBlocks,
      arrivals: sorted,
    };
  });

function world(
  arrivals: Partial<Arrival>[],
  numBlocks: number,
  limits: Partial<SchedulerLimits> = {},
): World {
  return {
    limits: { maxNumSeqs: 8, maxNumBatchedTokens: 16, longPrefillTokenThreshold: 0, ...limits },
    numBlocks,
    arrivals: arrivals.map((a) => ({ step: 0, promptTokens: 4, maxTokens: 4, abortStep: null, ...a })),
  };
}

describe("scheduler laws", () => {
  test("every history keeps the budget, ends every sequence and returns every block", () => {
    fc.assert(
      fc.property(worlds, (history) => {
        const { finished } = simulate(history);
        for (const [sequence, arrival] of history.arrivals.entries()) {
          if (arrival.abortStep === null) expect(finished).toContain(sequence);
        }
      }),
      { numRuns: 200 },
    );
  });

  test("equal histories give equal plans", () => {
    fc.assert(
      fc.property(worlds, (history) => {
        expect(simulate(history)).toEqual(simulate(history));
      }),
    );
  });

  test("first come, first served: nobody starts before an older one has started", () => {
    fc.assert(
      fc.property(worlds, (history) => {
        const started: number[] = [];
        for (const { planned } of simulate(history).steps) {
          for (const { sequence } of planned) if (!started.includes(sequence)) started.push(sequence);
        }
        expect(started).toEqual([...started].sort((a, b) => a - b));
      }),
    );
  });

  test("the oldest open sequence is never preempted and never idle", () => {
    fc.assert(
      fc.property(worlds, (history) => {
        const quiet = { ...history, arrivals: history.arrivals.map((a) => ({ ...a, abortStep: null })) };
        const { steps, finished } = simulate(quiet);
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
    );
  });
});

describe("scheduler", () => {
  test("mixes decode and prefill in one step and cuts a long prompt into chunks", () => {
    const { steps } = simulate(world([{ maxTokens: 8 }, { step: 1, promptTokens: 30 }], 20));
    expect(steps[1]!.planned).toEqual([
      { sequence: 0, first: 4, count: 1 },
      { sequence: 1, first: 0, count: 15 },
    ]);
    expect(steps[2]!.planned[1]).toEqual({ sequence: 1, first: 15, count: 15 });
  });

  test("lets later prompts in beside a long one under a threshold", () => {
    const long = { promptTokens: 30, maxTokens: 1 };
    const { steps } = simulate(world([long, { maxTokens: 1 }], 20, { longPrefillTokenThreshold: 6 }));
    expect(steps[0]!.planned.map((p) => p.count)).toEqual([6, 4]);
  });

  test("preempts the newest when no block is free, and computes it again from its start", () => {
    const { steps, numPreemptions, finished } = simulate(
      world(
        [
          { promptTokens: 8, maxTokens: 13 },
          { promptTokens: 8, maxTokens: 13 },
        ],
        7,
      ),
    );
    expect(numPreemptions).toBeGreaterThan(0);
    expect(finished).toEqual([0, 1]);
    const restarts = steps.flatMap((s) => s.planned).filter((p) => p.sequence === 1 && p.first === 0);
    expect(restarts.length).toBe(numPreemptions + 1);
  });

  test("does not start a prompt whose blocks are not all free", () => {
    const { steps } = simulate(
      world(
        [
          { promptTokens: 16, maxTokens: 2 },
          { promptTokens: 16, maxTokens: 1 },
        ],
        8,
      ),
    );
    expect(steps[0]!.planned.map((p) => p.sequence)).toEqual([0]);
    expect(steps.find((s) => s.planned.some((p) => p.sequence === 1))!.planned.length).toBe(1);
  });
});
