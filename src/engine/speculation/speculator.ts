import type { KvManager } from "../kv-manager.ts";
import type { StepPlan } from "../scheduler.ts";
import { type SequenceTable, sequenceKinds } from "../sequence-table.ts";
import type { WaitEstimate } from "../wait-estimate.ts";
import type { Acceptance } from "./acceptance.ts";
import type { DraftProposer } from "./draft-proposer.ts";

interface SpeculatorParts {
  readonly table: SequenceTable;
  readonly kv: KvManager;
  readonly proposer: DraftProposer;
  readonly acceptance: Acceptance;
  readonly estimate: WaitEstimate;
  readonly maxNumSeqs: number;
}

const newWeight = 1 / 16;

/** After a step, has guesses made for the sequences that decode, as many as are likely to pay. */
export class Speculator {
  readonly acceptance: Acceptance;
  readonly #parts: SpeculatorParts;
  readonly #rows: Int32Array;
  readonly #depths: Int32Array;
  /** Mean milliseconds that the proposer takes per guess; 0 before the first. */
  #proposeMs = 0;

  constructor(parts: SpeculatorParts) {
    this.#parts = parts;
    this.acceptance = parts.acceptance;
    this.#rows = new Int32Array(parts.maxNumSeqs);
    this.#depths = new Int32Array(parts.maxNumSeqs);
  }

  open(row: number): void {
    this.acceptance.open(row);
    this.#parts.proposer.forget(row);
  }

  /** Guesses for the rows of the plan that are still open and have only their last token to compute. */
  propose(plan: StepPlan): void {
    const { table, kv, proposer } = this.#parts;
    const cost = this.#costPerGuess(plan.numSeqs);
    let count = 0;
    let numWanted = 0;
    for (let index = 0; index < plan.numSeqs; index += 1) {
      const row = plan.rows[index]!;
      if (table.handles[row] === -1 || table.kind[row] === sequenceKinds.score) continue;
      if (table.numComputed[row] !== table.numTokens[row]! - 1) continue;
      const room = table.maxTokens[row]! - table.numOutputTokens(row) - 1;
      let depth = Math.min(room, this.acceptance.depth(row, cost));
      while (depth > 0 && !kv.growFromFree(row, table.numTokens[row]! + depth)) depth -= 1;
      if (depth < 1) continue;
      this.#rows[count] = row;
      this.#depths[count] = depth;
      numWanted += depth;
      count += 1;
    }
    if (count === 0) return;
    const beginMs = performance.now();
    proposer.propose(this.#rows, this.#depths, count);
    this.#observe((performance.now() - beginMs) / numWanted);
  }

  #observe(timeMs: number): void {
    const weight = this.#proposeMs === 0 ? 1 : newWeight;
    this.#proposeMs += weight * (timeMs - this.#proposeMs);
  }

  /** What a guess costs to make and to verify, as a part of the step's time per sequence; measured steps tell. */
  #costPerGuess(numSeqs: number): number {
    const { estimate } = this.#parts;
    const plainMs = estimate.stepTimes.stepMs(numSeqs);
    const more = numSeqs * this.acceptance.maxDrafts;
    if (plainMs === 0) return 0;
    const guessMs = Math.max(0, estimate.stepTimes.stepMs(numSeqs + more) - plainMs) / more;
    return (guessMs + this.#proposeMs) / (plainMs / numSeqs);
  }
}
