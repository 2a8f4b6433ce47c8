import { invariant } from "../base/invariant.ts";
import { TraceColumns } from "./trace-columns.ts";

/** What a sequence is for: drawing tokens, or scoring those it has. */
export const sequenceKinds = { generate: 0, score: 1 } as const;

/**
 * All open sequences, one permanent row each from admission to its end, in flat typed arrays. A step builds only a
 * list of rows; preemption and re-admission move nothing. Token ids and block table of a row are one growing typed
 * array each, so that a short request in a long context costs little.
 */
export class SequenceTable {
  readonly capacity: number;
  readonly blockSize: number;
  readonly kind: Uint8Array;
  /** The request's number in its client; −1 in a free row. */
  readonly handles: Int32Array;
  readonly numPromptTokens: Int32Array;
  /** Known tokens: prompt and output so far. */
  readonly numTokens: Int32Array;
  /** Tokens whose K and V are in the cache. */
  readonly numComputed: Int32Array;
  /**
   * Tokens whose K and V are to be in the cache before something can be drawn or the score is complete; guesses that
   * a step is to verify included.
   */
  readonly numTarget: Int32Array;
  /** Guessed tokens, which stand behind the known ones in `tokenIds`. */
  readonly numDrafts: Int32Array;
  /** Tokens that need not be computed if the cache has them: the model's output for the others is wanted. */
  readonly numSkippable: Int32Array;
  /** Tokens that were computed for the sequence for the first time or came from the cache: what it has been served. */
  readonly numServed: Int32Array;
  /** 1 once the sequence has been given its first blocks. */
  readonly isStarted: Uint8Array;
  readonly numBlocks: Int32Array;
  /** Prompt tokens whose K and V came from the cache when it was first started. */
  readonly numCached: Int32Array;
  readonly maxTokens: Int32Array;
  readonly minTokens: Int32Array;
  readonly temperature: Float32Array;
  readonly topK: Int32Array;
  readonly topP: Float32Array;
  readonly minP: Float32Array;
  /** [capacity, 2] low and high word. */
  readonly seeds: Uint32Array;
  /** Asked top log-probabilities; −1 for none at all. */
  readonly numLogprobs: Int32Array;
  readonly traces: TraceColumns;
  readonly #tokenIds: Int32Array[];
  readonly #blockTables: Int32Array[];
  readonly #freeRows: Int32Array;
  #numFreeRows: number;

  constructor(capacity: number, blockSize: number) {
    this.capacity = capacity;
    this.blockSize = blockSize;
    this.kind = new Uint8Array(capacity);
    this.handles = new Int32Array(capacity).fill(-1);
    this.numPromptTokens = new Int32Array(capacity);
    this.numTokens = new Int32Array(capacity);
    this.numComputed = new Int32Array(capacity);
    this.numTarget = new Int32Array(capacity);
    this.numDrafts = new Int32Array(capacity);
    this.numSkippable = new Int32Array(capacity);
    this.numServed = new Int32Array(capacity);
    this.isStarted = new Uint8Array(capacity);
    this.numBlocks = new Int32Array(capacity);
    this.numCached = new Int32Array(capacity);
    this.maxTokens = new Int32Array(capacity);
    this.minTokens = new Int32Array(capacity);
    this.temperature = new Float32Array(capacity);
    this.topK = new Int32Array(capacity);
    this.topP = new Float32Array(capacity);
    this.minP = new Float32Array(capacity);
    this.seeds = new Uint32Array(capacity * 2);
    this.numLogprobs = new Int32Array(capacity);
    this.traces = new TraceColumns(capacity);
    this.#tokenIds = Array.from({ length: capacity }, () => empty);
    this.#blockTables = Array.from({ length: capacity }, () => empty);
    this.#freeRows = Int32Array.from({ length: capacity }, (_, index) => capacity - 1 - index);
    this.#numFreeRows = capacity;
  }

  get numOpen(): number {
    return this.capacity - this.#numFreeRows;
  }

  /**
   * Takes a row for a new sequence with nothing computed. The caller has checked that one is free.
   * @param scoreStart first scored position of a score
   */
  open(handle: number, kind: number, tokenIds: readonly number[] | Int32Array, scoreStart = 0): number {
    invariant(this.#numFreeRows > 0, "no free row in the sequence table");
    this.#numFreeRows -= 1;
    const row = this.#freeRows[this.#numFreeRows]!;
    const length = tokenIds.length;
    this.#tokenIds[row] = Int32Array.from(tokenIds);
    this.handles[row] = handle;
    this.kind[row] = kind;
    this.numPromptTokens[row] = length;
    this.numTokens[row] = length;
    this.numComputed[row] = 0;
    // Nothing is drawn from a score's last token, so it need not be computed.
    this.numTarget[row] = kind === sequenceKinds.score ? length - 1 : length;
    this.numSkippable[row] = kind === sequenceKinds.score ? scoreStart - 1 : length - 1;
    this.numDrafts[row] = 0;
    this.isStarted[row] = 0;
    this.numServed[row] = 0;
    this.numBlocks[row] = 0;
    this.numCached[row] = 0;
    this.traces.clear(row);
    return row;
  }

  /** Gives the row back. Its blocks must have been released. */
  close(row: number): void {
    invariant(this.handles[row] !== -1, `row ${row} is closed twice`);
    invariant(this.numBlocks[row] === 0, `row ${row} is closed with ${this.numBlocks[row]} blocks`);
    this.handles[row] = -1;
    this.#tokenIds[row] = empty;
    this.#blockTables[row] = empty;
    this.#freeRows[this.#numFreeRows] = row;
    this.#numFreeRows += 1;
  }

  /** Known token ids of a row; valid up to `numTokens[row]`, until the next append. */
  tokenIds(row: number): Int32Array {
    return this.#tokenIds[row]!;
  }

  /** Physical blocks of a row in order; valid up to `numBlocks[row]`. */
  blockTable(row: number): Int32Array {
    return this.#blockTables[row]!;
  }

  /** Appends a drawn token, which is then the next one to compute. */
  append(row: number, tokenId: number): void {
    const length = this.numTokens[row]!;
    const ids = grown(this.#tokenIds[row]!, length + 1);
    this.#tokenIds[row] = ids;
    ids[length] = tokenId;
    this.numTokens[row] = length + 1;
    this.numTarget[row] = length + 1;
    this.numSkippable[row] = length;
    this.numDrafts[row] = 0;
  }

  /** Puts guesses behind the known tokens, for the next step to verify. */
  setDrafts(row: number, drafts: Int32Array, count: number): void {
    const length = this.numTokens[row]!;
    const ids = grown(this.#tokenIds[row]!, length + count);
    this.#tokenIds[row] = ids;
    for (let index = 0; index < count; index += 1) ids[length + index] = drafts[index]!;
    this.numDrafts[row] = count;
    this.numTarget[row] = length + count;
  }

  /** Forgets the guesses of a row; false when it has none. */
  dropDrafts(row: number): boolean {
    if (this.numDrafts[row] === 0) return false;
    this.numTarget[row]! -= this.numDrafts[row]!;
    this.numDrafts[row] = 0;
    return true;
  }

  /** The block table with room for `count` blocks. */
  reserveBlocks(row: number, count: number): Int32Array {
    const table = grown(this.#blockTables[row]!, count);
    this.#blockTables[row] = table;
    return table;
  }

  /** Blocks that hold `numTokens` tokens. */
  blocksFor(numTokens: number): number {
    return Math.ceil(numTokens / this.blockSize);
  }

  numOutputTokens(row: number): number {
    return this.numTokens[row]! - this.numPromptTokens[row]!;
  }
}

const empty: Int32Array = new Int32Array(0);

/** The same array, or a copy of at least twice the size: appending costs no allocation per token. */
function grown(array: Int32Array, length: number): Int32Array {
  if (length <= array.length) return array;
  const larger = new Int32Array(Math.max(16, length, array.length * 2));
  larger.set(array);
  return larger;
}
