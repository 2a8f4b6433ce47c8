import type { KvManager } from "../kv-manager.ts";
import type { Scheduler, StepPlan } from "../scheduler.ts";
import { type SequenceTable, sequenceKinds } from "../sequence-table.ts";
import type { Candidates, DepthPolicy } from "./depth-policy.ts";
import type { DraftProposer } from "./draft-proposer.ts";

export interface SpeculatorParts {
  readonly table: SequenceTable;
  readonly kv: Pick<KvManager, "growFromFree">;
  readonly proposer: DraftProposer;
  readonly policy: DepthPolicy;
  /** Most guesses per sequence and step. */
  readonly maxDrafts: number;
  readonly maxNumSeqs: number;
  readonly maxNumBatchedTokens: number;
  readonly scheduler: Pick<Scheduler, "numTokensDue" | "numStartable">;
}

/**
 * After a step, has guesses made for the sequences that decode, as many as the policy says, as the next step has room
 * for beside what running sequences miss and one token of each that could start, and as free blocks allow.
 */
export class Speculator {
  readonly #parts: SpeculatorParts;
  readonly #candidates: Candidates;

  constructor(parts: SpeculatorParts) {
    const { maxNumSeqs } = parts;
    this.#parts = parts;
    this.#candidates = {
      count: 0,
      rows: new Int32Array(maxNumSeqs),
      depths: new Int32Array(maxNumSeqs),
      numDrawing: 0,
    };
  }

  open(row: number): void {
    this.#parts.policy.open(row);
  }

  /** The step of `plan` drew `numDraws` tokens. */
  observe(plan: StepPlan, numDraws: number, timeMs: number): void {
    this.#parts.policy.observe(plan, numDraws, timeMs);
  }

  /** Of a row's `numDrafts` guesses, for tokens from `first` on, the first `numRight` were what the model drew. */
  record(row: number, first: number, numDrafts: number, numRight: number): void {
    const { policy, proposer } = this.#parts;
    policy.record(row, numDrafts, numRight);
    proposer.accept(row, first, numRight);
  }

  /** Guesses for the rows of the plan that are still open and have only their last token to compute. */
  propose(plan: StepPlan): void {
    const { proposer, policy } = this.#parts;
    const candidates = this.#candidates;
    this.#collect(plan);
    if (candidates.count === 0) return;
    policy.choose(candidates);
    this.#shareRoom();
    this.#takeBlocks();
    const { count, rows, depths } = candidates;
    if (count === 0) return;
    const beginMs = performance.now();
    proposer.propose(rows, depths, count);
    policy.charge(performance.now() - beginMs);
  }

  #collect(plan: StepPlan): void {
    const { table, maxDrafts } = this.#parts;
    const candidates = this.#candidates;
    candidates.count = 0;
    candidates.numDrawing = 0;
    for (let index = 0; index < plan.numSeqs; index += 1) {
      const row = plan.rows[index]!;
      if (table.handles[row] === -1 || table.kind[row] === sequenceKinds.score) continue;
      if (table.numComputed[row] !== table.numTokens[row]! - 1) continue;
      candidates.numDrawing += 1;
      // The last token that a row may draw needs no guess.
      const room = table.maxTokens[row]! - table.numOutputTokens(row) - 1;
      if (room < 1) continue;
      candidates.rows[candidates.count] = row;
      candidates.depths[candidates.count] = Math.min(room, maxDrafts);
      candidates.count += 1;
    }
  }

  /** Guesses are not worth another sequence's place in the step: they share what would be left of it. */
  #shareRoom(): void {
    const { maxNumBatchedTokens, scheduler } = this.#parts;
    const { count, depths } = this.#candidates;
    let room = Math.max(0, maxNumBatchedTokens - scheduler.numTokensDue - scheduler.numStartable);
    for (let index = 0; index < count; index += 1) {
      const depth = Math.min(depths[index]!, Math.floor(room / (count - index)));
      depths[index] = depth;
      room -= depth;
    }
  }

  /** Keeps the candidates that get guesses, and fewer guesses where blocks are short. */
  #takeBlocks(): void {
    const { table, kv } = this.#parts;
    const { count, rows, depths } = this.#candidates;
    let kept = 0;
    for (let index = 0; index < count; index += 1) {
      const row = rows[index]!;
      let depth = depths[index]!;
      while (depth > 0 && !kv.growFromFree(row, table.numTokens[row]! + depth)) depth -= 1;
      if (depth === 0) continue;
      rows[kept] = row;
      depths[kept] = depth;
      kept += 1;
    }
    this.#candidates.count = kept;
  }
}
