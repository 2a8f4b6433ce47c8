import type { FinishReason } from "../protocol/engine-client.ts";

/**
 * What a step publishes, as two number arrays that can cross to another thread at the price of two buffers. A record
 * per request that got something:
 * - ints: handle, numNew, finish code, stop id (−1 none), numCached, numTop (−1: no log-probabilities),
 *   numNew token ids, then with numTop ≥ 0 for each token: rank, numTop ids
 * - floats, with numTop ≥ 0, for each token: log-probability, numTop top log-probabilities
 */
export interface StepRecords {
  readonly ints: Int32Array;
  readonly floats: Float32Array;
}

const finishReasons = ["stop", "length", "abort", "error"] as const satisfies readonly FinishReason[];

/** Log-probabilities of one drawn token, as rows of the sampler's output. */
export interface DrawnLogprobs {
  readonly logprob: number;
  readonly rank: number;
  readonly numTop: number;
  readonly topIds: Int32Array;
  readonly topLogprobs: Float32Array;
  /** Where this token's entries begin in both. */
  readonly topStart: number;
}

/** Collects the records of one step in arrays that are reused and only ever grow. */
export class StepWriter {
  #ints: Int32Array = new Int32Array(256);
  #floats: Float32Array = new Float32Array(64);
  #numInts = 0;
  #numFloats = 0;

  get isEmpty(): boolean {
    return this.#numInts === 0;
  }

  /** Copies of what was written, for a receiver that keeps them; then starts anew. */
  take(): StepRecords {
    const records = {
      ints: this.#ints.slice(0, this.#numInts),
      floats: this.#floats.slice(0, this.#numFloats),
    };
    this.#numInts = 0;
    this.#numFloats = 0;
    return records;
  }

  /** One new token. `logprobs` null when the request asked for none. */
  token(
    handle: number,
    tokenId: number,
    numCached: number,
    end: StepEnd,
    logprobs: DrawnLogprobs | null,
  ): void {
    const numTop = logprobs?.numTop ?? -1;
    this.#reserve(9 + Math.max(0, numTop), 2 + Math.max(0, numTop));
    this.#head(handle, 1, numCached, end, numTop);
    this.#ints[this.#numInts++] = tokenId;
    if (logprobs === null) return;
    this.#ints[this.#numInts++] = logprobs.rank;
    this.#floats[this.#numFloats++] = logprobs.logprob;
    for (let rank = 0; rank < numTop; rank += 1) {
      this.#ints[this.#numInts++] = logprobs.topIds[logprobs.topStart + rank]!;
      this.#floats[this.#numFloats++] = logprobs.topLogprobs[logprobs.topStart + rank]!;
    }
  }

  /** A last output without a token. */
  end(handle: number, numCached: number, end: StepEnd): void {
    this.#reserve(6, 0);
    this.#head(handle, 0, numCached, end, -1);
  }

  #head(handle: number, numNew: number, numCached: number, end: StepEnd, numTop: number): void {
    const ints = this.#ints;
    ints[this.#numInts++] = handle;
    ints[this.#numInts++] = numNew;
    ints[this.#numInts++] = end.finishReason === null ? 0 : finishReasons.indexOf(end.finishReason) + 1;
    ints[this.#numInts++] = end.stopId;
    ints[this.#numInts++] = numCached;
    ints[this.#numInts++] = numTop;
  }

  #reserve(numInts: number, numFloats: number): void {
    if (this.#numInts + numInts > this.#ints.length) {
      const larger = new Int32Array((this.#numInts + numInts) * 2);
      larger.set(this.#ints);
      this.#ints = larger;
    }
    if (this.#numFloats + numFloats > this.#floats.length) {
      const larger = new Float32Array((this.#numFloats + numFloats) * 2);
      larger.set(this.#floats);
      this.#floats = larger;
    }
  }
}

/** How a sequence stands after a step: shared constants, so that the usual step makes none. */
export interface StepEnd {
  readonly finishReason: FinishReason | null;
  /** −1 for none. */
  readonly stopId: number;
}

export const stillOpen: StepEnd = { finishReason: null, stopId: -1 };
export const endedByEos: StepEnd = { finishReason: "stop", stopId: -1 };
export const endedByLength: StepEnd = { finishReason: "length", stopId: -1 };
export const endedByAbort: StepEnd = { finishReason: "abort", stopId: -1 };

/** One record of a step, as places in its arrays. Reused: valid until the next one is read. */
export interface StepRecord {
  handle: number;
  ints: Int32Array;
  floats: Float32Array;
  numNew: number;
  /** ints[tokensAt …] are the new token ids. */
  tokensAt: number;
  /** Top log-probabilities per token; −1: none were asked for. */
  numTop: number;
  /** ints[ranksAt …]: for each token its rank and numTop ids. */
  ranksAt: number;
  /** floats[floatsAt …]: for each token its log-probability and numTop more. */
  floatsAt: number;
  finishReason: FinishReason | null;
  stopReason: number | null;
  numCachedTokens: number;
}

/** Calls `receive` with each record in turn. */
export function readStep({ ints, floats }: StepRecords, receive: (record: StepRecord) => void): void {
  const record = { ...noRecord, ints, floats };
  let at = 0;
  while (at < ints.length) {
    record.handle = ints[at]!;
    record.numNew = ints[at + 1]!;
    const finish = ints[at + 2]!;
    const stopId = ints[at + 3]!;
    record.finishReason = finish === 0 ? null : finishReasons[finish - 1]!;
    record.stopReason = stopId < 0 ? null : stopId;
    record.numCachedTokens = ints[at + 4]!;
    record.numTop = ints[at + 5]!;
    record.tokensAt = at + 6;
    record.ranksAt = record.tokensAt + record.numNew;
    const numRanked = record.numNew * (record.numTop + 1);
    receive(record);
    at = record.ranksAt + numRanked;
    record.floatsAt += numRanked;
  }
}

const noRecord: Omit<StepRecord, "ints" | "floats"> = {
  handle: 0,
  numNew: 0,
  tokensAt: 0,
  numTop: -1,
  ranksAt: 0,
  floatsAt: 0,
  finishReason: null,
  stopReason: null,
  numCachedTokens: 0,
};
