import type { EngineOutput, FinishReason, TokenLogprobs } from "../protocol/engine-client.ts";

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

/** Calls `receive` with each record, as the output of the request whose id `requestIdOf` gives. */
export function readStep(
  records: StepRecords,
  requestIdOf: (handle: number) => string | undefined,
  receive: (handle: number, output: EngineOutput) => void,
): void {
  const { ints, floats } = records;
  let at = 0;
  let floatAt = 0;
  while (at < ints.length) {
    const handle = ints[at]!;
    const numNew = ints[at + 1]!;
    const finish = ints[at + 2]!;
    const stopId = ints[at + 3]!;
    const numCachedTokens = ints[at + 4]!;
    const numTop = ints[at + 5]!;
    const newTokenIds = Array.from(ints.subarray(at + 6, at + 6 + numNew));
    at += 6 + numNew;
    const logprobs: TokenLogprobs[] | null = numTop < 0 ? null : [];
    for (let token = 0; logprobs !== null && token < numNew; token += 1) {
      logprobs.push({
        logprob: floats[floatAt]!,
        rank: ints[at]!,
        topIds: Array.from(ints.subarray(at + 1, at + 1 + numTop)),
        topLogprobs: Array.from(floats.subarray(floatAt + 1, floatAt + 1 + numTop)),
      });
      at += 1 + numTop;
      floatAt += 1 + numTop;
    }
    const requestId = requestIdOf(handle);
    if (requestId === undefined) continue;
    receive(handle, {
      requestId,
      newTokenIds,
      logprobs,
      finishReason: finish === 0 ? null : finishReasons[finish - 1]!,
      stopReason: stopId < 0 ? null : stopId,
      numCachedTokens,
    });
  }
}
