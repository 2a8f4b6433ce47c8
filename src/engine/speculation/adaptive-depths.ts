import type { StepPlan } from "../scheduler.ts";
import type { SequenceTable } from "../sequence-table.ts";
import { Acceptance } from "./acceptance.ts";
import type { Candidates, DepthPolicy } from "./depth-policy.ts";
import type { DraftProposer } from "./draft-proposer.ts";
import { GuessCosts } from "./guess-costs.ts";
import { ProbeSchedule } from "./probe-schedule.ts";

export interface AdaptiveDepthsParts {
  readonly table: SequenceTable;
  readonly proposer: Pick<DraftProposer, "proposeMs" | "catchUpMs">;
  /** Most guesses per sequence and step. */
  readonly maxDrafts: number;
}

/** Guesses must be worth so much more than they cost. */
const margin = 1.1;
/** What a draft model needs to catch up is paid at once, for a gain that is only expected: that must be so much more. */
const catchUpMargin = 2;
/** After so many steps with guesses comes one without, to measure again what that takes. */
const stepsBetweenPlain = 64;
/** Where nothing is guessed and no row is new, little can change from step to step: it is looked at in every eighth. */
const stepsBetweenLooks = 8;

/**
 * As many guesses as pay by what was measured: a right one saves a sequence's share of a step without guesses; all of
 * them cost what they make the step longer, and what it takes to make them. Where none pay none are made, but for rare
 * probes.
 */
export class AdaptiveDepths implements DepthPolicy {
  readonly #parts: AdaptiveDepthsParts;
  readonly #acceptance: Acceptance;
  readonly #probes: ProbeSchedule;
  readonly #costs: GuessCosts = new GuessCosts();
  /** Of the step that is chosen for: sequences that draw, and the milliseconds that a guess costs, and saves if right. */
  #numDrawing = 0;
  #guessMs = 0;
  #savedMs = 0;
  #numStepsWithGuesses = 0;
  #numLooks = 0;
  /** Steps since the last look, and whether it chose no guess for anyone. */
  #numStepsSince = 0;
  #isQuiet = false;

  constructor(parts: AdaptiveDepthsParts) {
    this.#parts = parts;
    this.#acceptance = new Acceptance(parts.table.capacity);
    this.#probes = new ProbeSchedule(parts.table.capacity);
  }

  open(row: number): void {
    this.#acceptance.open(row);
    this.#probes.open(row);
    this.#isQuiet = false;
  }

  observe(plan: StepPlan, numDraws: number, timeMs: number): void {
    // A step that computes prompts as well draws fewer than it computes, and tells nothing of guesses.
    if (numDraws !== plan.numTokens) return;
    this.#probes.passTime(timeMs);
    const { numSeqs } = plan;
    const hasGuesses = numDraws > numSeqs;
    this.#costs.observe(numDraws, numSeqs, timeMs);
    this.#numStepsWithGuesses = hasGuesses ? this.#numStepsWithGuesses + 1 : 0;
    const plainMs = this.#costs.plainMs(numSeqs);
    if (hasGuesses && plainMs > 0) this.#probes.charge(timeMs - plainMs);
  }

  record(row: number, numDrafts: number, numRight: number): void {
    this.#acceptance.record(row, numDrafts, numRight);
    this.#probes.record(row, numRight * this.#savedMs > numDrafts * this.#guessMs);
    this.#probes.charge(-numRight * this.#savedMs);
  }

  choose(candidates: Candidates): void {
    const { count, depths } = candidates;
    this.#numStepsSince += 1;
    if (this.#isQuiet && this.#numStepsSince < stepsBetweenLooks) {
      depths.fill(0, 0, count);
      return;
    }
    const isForced = this.#look(candidates);
    this.#numStepsSince = 0;
    this.#isQuiet = !isForced && areZero(depths, count);
  }

  charge(proposeMs: number): void {
    this.#probes.charge(proposeMs);
  }

  /** True where this step has no guesses only so that it is measured. */
  #look(candidates: Candidates): boolean {
    const { count, depths, numDrawing } = candidates;
    const plainMs = this.#costs.plainMs(numDrawing);
    this.#numDrawing = numDrawing;
    this.#savedMs = plainMs / numDrawing;
    this.#numLooks += 1;
    if (plainMs === 0 || this.#numStepsWithGuesses >= stepsBetweenPlain) {
      depths.fill(0, 0, count);
      return true;
    }
    this.#lowerDepths(candidates);
    this.#limitSize(candidates);
    if (!this.#isWorth(candidates)) depths.fill(0, 0, count);
    this.#addProbe(candidates);
    return false;
  }

  /** To what pays for each row, when all rows share what a full set of guesses costs. */
  #lowerDepths({ count, rows, depths }: Candidates): void {
    const { proposer, maxDrafts } = this.#parts;
    this.#guessMs = this.#costMs(count, count * maxDrafts) / (count * maxDrafts);
    const guessMs = margin * this.#guessMs;
    for (let index = 0; index < count; index += 1) {
      const row = rows[index]!;
      const depth = this.#acceptance.depth(row, guessMs / this.#savedMs, depths[index]!);
      const gainMs = this.#acceptance.expectedRight(row, depth) * this.#savedMs - depth * guessMs;
      const numSteps = this.#room(row) / (1 + depth);
      depths[index] = gainMs * numSteps < catchUpMargin * proposer.catchUpMs(row) ? 0 : depth;
    }
  }

  /** The first rows keep their guesses, as many as may be tried: so it is the same rows from step to step. */
  #limitSize({ count, depths, numDrawing }: Candidates): void {
    let room = this.#costs.mostDrafts(numDrawing, this.#parts.maxDrafts);
    for (let index = 0; index < count; index += 1) {
      if (depths[index]! > room) depths[index] = 0;
      room -= depths[index]!;
    }
  }

  /** Whether the chosen depths pay together. */
  #isWorth({ count, rows, depths }: Candidates): boolean {
    let numRight = 0;
    let numDrafts = 0;
    let numGuessing = 0;
    for (let index = 0; index < count; index += 1) {
      const depth = depths[index]!;
      if (depth === 0) continue;
      numRight += this.#acceptance.expectedRight(rows[index]!, depth);
      numDrafts += depth;
      numGuessing += 1;
    }
    return numDrafts > 0 && numRight * this.#savedMs > margin * this.#costMs(numGuessing, numDrafts);
  }

  /** What guesses cost that `numRows` rows get in equal parts. */
  #costMs(numRows: number, numDrafts: number): number {
    const proposeMs = this.#parts.proposer.proposeMs(numRows, numDrafts / numRows);
    return this.#costs.verifyMs(this.#numDrawing, numDrafts) + proposeMs;
  }

  /**
   * One row at a time, and none that could not win back what it takes to catch up with it. A probe is one guess, but for
   * the first ones: those are as deep as guesses would be, to tell what they cost.
   */
  #addProbe({ count, rows, depths }: Candidates): void {
    const { proposer, maxDrafts } = this.#parts;
    const probeDepth = this.#costs.verifyMs(this.#numDrawing, maxDrafts) > 0 ? 1 : maxDrafts;
    let isTaken = this.#probes.isInDebt;
    for (let index = 0; index < count; index += 1) {
      // Another row is first each time: one that is due and has nothing to guess is not to stand before the others.
      const at = (index + this.#numLooks) % count;
      const row = rows[at]!;
      if (depths[at]! > 0 || !this.#probes.wait(row, this.#numStepsSince) || isTaken) continue;
      const room = this.#room(row);
      if (proposer.catchUpMs(row) > room * this.#savedMs) continue;
      depths[at] = Math.min(probeDepth, room);
      isTaken = true;
    }
  }

  /** Tokens that a row may still draw, but for the one that it draws without guesses. */
  #room(row: number): number {
    const { table } = this.#parts;
    return table.maxTokens[row]! - table.numOutputTokens(row) - 1;
  }
}

function areZero(values: Int32Array, count: number): boolean {
  for (let index = 0; index < count; index += 1) if (values[index] !== 0) return false;
  return true;
}
