import type { RequestEnd } from "../protocol/engine-client.ts";

const requestEnds: readonly RequestEnd[] = [
  "end_token",
  "stop_token",
  "max_tokens",
  "scored",
  "abort",
  "deadline",
  "error",
];

/** What is counted of each open sequence's life, a column each; all 0 or NaN when a row is opened. */
export class TraceColumns {
  readonly numPreemptions: Int32Array;
  readonly numSwaps: Int32Array;
  readonly numSwappedBlocks: Int32Array;
  readonly numRecomputes: Int32Array;
  readonly numRecomputedTokens: Int32Array;
  readonly numSteps: Int32Array;
  readonly numChunks: Int32Array;
  readonly numChunkTokens: Int32Array;
  readonly numDraftTokens: Int32Array;
  readonly numAcceptedTokens: Int32Array;
  /** Place in `requestEnds`. */
  readonly #ends: Uint8Array;
  /** Milliseconds since 1970; NaN as long as it has not happened. */
  readonly arrivalMs: Float64Array;
  readonly firstStepMs: Float64Array;
  readonly firstTokenMs: Float64Array;

  constructor(capacity: number) {
    this.numPreemptions = new Int32Array(capacity);
    this.numSwaps = new Int32Array(capacity);
    this.numSwappedBlocks = new Int32Array(capacity);
    this.numRecomputes = new Int32Array(capacity);
    this.numRecomputedTokens = new Int32Array(capacity);
    this.numSteps = new Int32Array(capacity);
    this.numChunks = new Int32Array(capacity);
    this.numChunkTokens = new Int32Array(capacity);
    this.numDraftTokens = new Int32Array(capacity);
    this.numAcceptedTokens = new Int32Array(capacity);
    this.#ends = new Uint8Array(capacity);
    this.arrivalMs = new Float64Array(capacity);
    this.firstStepMs = new Float64Array(capacity);
    this.firstTokenMs = new Float64Array(capacity);
  }

  clear(row: number): void {
    this.numPreemptions[row] = 0;
    this.numSwaps[row] = 0;
    this.numSwappedBlocks[row] = 0;
    this.numRecomputes[row] = 0;
    this.numRecomputedTokens[row] = 0;
    this.numSteps[row] = 0;
    this.numChunks[row] = 0;
    this.numChunkTokens[row] = 0;
    this.numDraftTokens[row] = 0;
    this.numAcceptedTokens[row] = 0;
    this.arrivalMs[row] = Number.NaN;
    this.firstStepMs[row] = Number.NaN;
    this.firstTokenMs[row] = Number.NaN;
  }

  end(row: number, by: RequestEnd): void {
    this.#ends[row] = requestEnds.indexOf(by);
  }

  /** What ended a row; only after `end`. */
  endOf(row: number): RequestEnd {
    return requestEnds[this.#ends[row]!]!;
  }

  /** Blocks of a preempted sequence were moved to the host tier. */
  countSwap(row: number, numBlocks: number): void {
    this.numSwaps[row]! += 1;
    this.numSwappedBlocks[row]! += numBlocks;
  }

  /** A preempted sequence lost tokens that it has to compute again. */
  countRecompute(row: number, numTokens: number): void {
    this.numRecomputes[row]! += 1;
    this.numRecomputedTokens[row]! += numTokens;
  }
}
