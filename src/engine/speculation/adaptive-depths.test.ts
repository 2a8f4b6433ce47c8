import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createRandom } from "../../../tests/law/covering-array.ts";
import type { StepPlan } from "../scheduler.ts";
import { SequenceTable, sequenceKinds } from "../sequence-table.ts";
import { AdaptiveDepths } from "./adaptive-depths.ts";
import type { Candidates } from "./depth-policy.ts";

/** A machine, its models and what is asked of them; times in milliseconds. */
interface World {
  readonly numSeqs: number;
  readonly maxDrafts: number;
  /** A step of n tokens takes fixedMs + n · tokenMs. */
  readonly fixedMs: number;
  readonly tokenMs: number;
  /** Of the draft model: for each pass, and for each token of a prompt that it has to catch up with. */
  readonly passMs: number;
  readonly catchUpTokenMs: number;
  readonly numPromptTokens: number;
  readonly maxTokens: number;
  /** Probability that a guess is right after right ones, for the token with this number of this row. */
  readonly rate: (row: number, numDrawn: number) => number;
  /** Factor by which a measured time differs from the true one. */
  readonly noise: () => number;
}

const usual: Omit<World, "rate"> = {
  numSeqs: 1,
  maxDrafts: 4,
  fixedMs: 8,
  tokenMs: 1,
  passMs: 0.5,
  catchUpTokenMs: 0.05,
  numPromptTokens: 100,
  maxTokens: 128,
  noise: () => 1,
};

/**
 * Plays steps of requests that follow one another, and returns how much faster tokens come than without guesses, once
 * `numWarmSteps` are over.
 */
function speedUp(world: World, numSteps: number, random: () => number, numWarmSteps = 0): number {
  const { numSeqs, maxDrafts } = world;
  const table = new SequenceTable(numSeqs, 32);
  const numBehind = new Float64Array(numSeqs);
  const stepMs = (numTokens: number): number => world.fixedMs + numTokens * world.tokenMs;
  const depths = new AdaptiveDepths({
    table,
    maxDrafts,
    proposer: {
      proposeMs: (numRows, depth) => depth * world.passMs + numRows * world.catchUpTokenMs,
      catchUpMs: (row) => numBehind[row]! * world.catchUpTokenMs,
    },
  });
  const prompt = new Int32Array(world.numPromptTokens);
  const open = (row: number): void => {
    table.open(row, sequenceKinds.generate, prompt);
    // The step that computes the prompt draws for others too. It is no part of the speed of drawing.
    const plan = { numSeqs, numTokens: prompt.length + numSeqs - 1 } as StepPlan;
    depths.observe(plan, numSeqs, prompt.length * world.tokenMs);
    table.maxTokens[row] = world.maxTokens;
    numBehind[row] = world.numPromptTokens;
    depths.open(row);
  };
  // Rows are opened in the order of their numbers.
  for (let row = 0; row < numSeqs; row += 1) open(row);
  const drafts = new Int32Array(numSeqs);
  const candidates: Candidates = {
    count: 0,
    rows: new Int32Array(numSeqs),
    depths: new Int32Array(numSeqs),
    numDrawing: 0,
  };
  let timeMs = 0;
  let numDrawn = 0;
  // The very first step finds everything cold.
  for (let step = 0; step < numWarmSteps + numSteps; step += 1) {
    if (step === numWarmSteps) {
      timeMs = 0;
      numDrawn = 0;
    }
    const numDrafts = drafts.reduce((sum, count) => sum + count, 0);
    const takenMs = stepMs(numSeqs + numDrafts);
    timeMs += takenMs;
    const plan = { numSeqs, numTokens: numSeqs + numDrafts } as StepPlan;
    const coldFactor = step === 0 ? 20 : 1;
    depths.observe(plan, numSeqs + numDrafts, takenMs * world.noise() * coldFactor);
    for (let row = 0; row < numSeqs; row += 1) {
      let numRight = 0;
      while (numRight < drafts[row]! && random() < world.rate(row, table.numOutputTokens(row) + numRight))
        numRight += 1;
      for (let token = 0; token <= numRight; token += 1) table.append(row, 1);
      // The draft has computed its own guesses, but for the last; any other token is new to it.
      numBehind[row]! += numRight + 1 - Math.max(0, Math.min(numRight, drafts[row]! - 1));
      numDrawn += numRight + 1;
      if (drafts[row]! > 0) depths.record(row, drafts[row]!, numRight);
      if (table.numOutputTokens(row) < world.maxTokens) continue;
      table.close(row);
      open(row);
    }
    candidates.count = 0;
    candidates.numDrawing = numSeqs;
    for (let row = 0; row < numSeqs; row += 1) {
      const room = world.maxTokens - table.numOutputTokens(row) - 1;
      if (room < 1) continue;
      candidates.rows[candidates.count] = row;
      candidates.depths[candidates.count] = Math.min(room, maxDrafts);
      candidates.count += 1;
    }
    drafts.fill(0);
    depths.choose(candidates);
    let proposeMs = 0;
    let deepest = 0;
    for (let index = 0; index < candidates.count; index += 1) {
      const row = candidates.rows[index]!;
      const depth = candidates.depths[index]!;
      if (depth === 0) continue;
      // The pass that guesses computes one token of each row in any case.
      proposeMs += (numBehind[row]! - 1) * world.catchUpTokenMs;
      numBehind[row] = 0;
      drafts[row] = depth;
      deepest = Math.max(deepest, depth);
    }
    proposeMs += deepest * world.passMs;
    timeMs += proposeMs;
    if (deepest > 0) depths.charge(proposeMs * world.noise());
  }
  return (numDrawn / timeMs) * (stepMs(numSeqs) / numSeqs);
}

const worlds = fc.record({
  numSeqs: fc.constantFrom(1, 2, 4, 8, 32),
  maxDrafts: fc.integer({ min: 1, max: 8 }),
  fixedMs: fc.double({ min: 0.1, max: 20, noNaN: true }),
  tokenMs: fc.double({ min: 0.05, max: 5, noNaN: true }),
  passMs: fc.double({ min: 0.001, max: 5, noNaN: true }),
  /** Of `tokenMs`: a draft model is smaller than the model. */
  catchUpShare: fc.double({ min: 0, max: 0.3, noNaN: true }),
  numPromptTokens: fc.integer({ min: 1, max: 1000 }),
  maxTokens: fc.integer({ min: 16, max: 400 }),
  seed: fc.nat(),
});

type MadeWorld = typeof worlds extends fc.Arbitrary<infer Made> ? Made : never;

/** Guesses win nothing here, since a step costs per token alone; a few seem to, and then 32 prompts are to be caught up with. */
const allAtOnce: MadeWorld = {
  numSeqs: 32,
  maxDrafts: 4,
  fixedMs: 0.156,
  tokenMs: 1.048,
  passMs: 0.0067,
  catchUpShare: 0.3,
  numPromptTokens: 538,
  maxTokens: 400,
  seed: 1913467593,
};

/** Times that vary by a tenth, and now and then one that is five times as long. */
function noiseFrom(random: () => number): () => number {
  return () => (random() < 0.01 ? 5 : 0.9 + 0.2 * random());
}

/** On a machine whose times vary, after the first steps, in which everything is new. */
function steadySpeedUp({ seed, catchUpShare, ...some }: MadeWorld, rate: number): number {
  const random = createRandom(seed);
  const catchUpTokenMs = catchUpShare * some.tokenMs;
  return speedUp({ ...some, catchUpTokenMs, rate: () => rate, noise: noiseFrom(random) }, 3000, random, 1000);
}

describe("adaptive depths", () => {
  test("gain most of what the best fixed depth would where guesses are right", () => {
    const ideal = (5 * 9) / (8 + 5 + 4 * 0.5);
    expect(speedUp({ ...usual, rate: () => 1 }, 2000, createRandom(1))).toBeGreaterThan(0.9 * ideal);
  });

  test("go on guessing right after the step without guesses that is only measured", () => {
    // One long request: of each 65 steps one has no guesses. Were there more, the speed would be below this.
    const ideal = (5 * 9) / (8 + 5 + 4 * 0.5);
    const gain = speedUp({ ...usual, rate: () => 1, maxTokens: 12_000 }, 2000, createRandom(1), 100);
    expect(gain).toBeGreaterThan(0.96 * ideal);
  });

  test("cost less than five per cent where no guess is ever right, on any machine", () => {
    fc.assert(
      fc.property(worlds, (some) => {
        expect(steadySpeedUp(some, 0)).toBeGreaterThan(0.95);
      }),
      { numRuns: 150, endOnFailure: true },
    );
  });

  test("cost less than five per cent however often guesses are right, on any machine", () => {
    fc.assert(
      fc.property(worlds, fc.double({ min: 0, max: 1, noNaN: true }), (some, rate) => {
        expect(steadySpeedUp(some, rate)).toBeGreaterThan(0.95);
      }),
      { numRuns: 150, endOnFailure: true, examples: [[allAtOnce, 1]] },
    );
  });

  test("find out that a text has become easy to foresee", () => {
    const rate = (_row: number, numDrawn: number): number => (numDrawn > 2000 ? 1 : 0);
    const late = speedUp({ ...usual, rate, maxTokens: 12_000 }, 4000, createRandom(3), 2500);
    expect(late).toBeGreaterThan(2);
  });

  test("guess for the rows that are easy to foresee, and not for the others", () => {
    const rate = (row: number): number => (row === 0 ? 1 : 0);
    const alone = speedUp({ ...usual, fixedMs: 30, numSeqs: 4, rate }, 4000, createRandom(5));
    expect(alone).toBeGreaterThan(1.2);
  });
});
