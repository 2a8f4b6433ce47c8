import { DecayingMean } from "../decaying-mean.ts";
import type { SequenceTable } from "../sequence-table.ts";
import type { DraftProposer } from "./draft-proposer.ts";

/** Longest and shortest run of last tokens that is looked for. */
const longestMatch = 4;
const shortestMatch = 2;
/** Tokens that are searched, from the end: a longer search would cost more than it finds. */
const maxSearched = 4096;
const searchWeight = 1 / 64;

/**
 * Prompt lookup (Saxena 2023; vLLM's `ngram`): where the last tokens stood before, the same ones may follow again. Takes
 * the latest place of the longest match.
 */
export class NgramProposer implements DraftProposer {
  readonly #table: SequenceTable;
  readonly #drafts: Int32Array;
  /** Milliseconds per search. */
  readonly #searchMs: DecayingMean = new DecayingMean(searchWeight);

  constructor(table: SequenceTable, maxDrafts: number) {
    this.#table = table;
    this.#drafts = new Int32Array(maxDrafts);
  }

  proposeMs(numRows: number): number {
    return numRows * this.#searchMs.get();
  }

  catchUpMs(): number {
    return 0;
  }

  propose(rows: Int32Array, depths: Int32Array, count: number): void {
    const beginMs = performance.now();
    for (let index = 0; index < count; index += 1) this.#proposeFor(rows[index]!, depths[index]!);
    this.#searchMs.observe((performance.now() - beginMs) / count);
  }

  accept(): void {
    // Nothing is kept: the tokens themselves are searched.
  }

  #proposeFor(row: number, depth: number): void {
    const length = this.#table.numTokens[row]!;
    const ids = this.#table.tokenIds(row);
    const place = findContinuation(ids, length);
    if (place === -1) return;
    const drafts = this.#drafts;
    // Where the text repeats itself in less than `depth` tokens, the guesses go on with guesses.
    for (let index = 0; index < depth; index += 1)
      drafts[index] = place + index < length ? ids[place + index]! : drafts[place + index - length]!;
    this.#table.setDrafts(row, drafts, depth);
  }
}

/** Position after the latest earlier place of the longest suffix of ids[0 … length), or −1. */
export function findContinuation(ids: Int32Array, length: number): number {
  const first = Math.max(0, length - maxSearched);
  let best = -1;
  let bestLength = shortestMatch - 1;
  const last = ids[length - 1];
  for (let end = length - 2; end >= first; end -= 1) {
    if (ids[end] !== last) continue;
    let matched = 1;
    while (
      matched < longestMatch &&
      end - matched >= first &&
      ids[end - matched] === ids[length - 1 - matched]
    )
      matched += 1;
    if (matched <= bestLength) continue;
    best = end + 1;
    bestLength = matched;
    if (matched === longestMatch) break;
  }
  return best;
}
