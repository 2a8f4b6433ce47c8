import type { TokenLogprobs } from "../protocol/engine-client.ts";
import type { StepRecord } from "./step-record.ts";

/**
 * Tokens of one request that its reader has not taken yet, as numbers: 4 bytes a token, and 8 more for each
 * log-probability. So a reader may be late by a whole answer and cost little.
 */
export class TokenBuffer {
  #ids: Int32Array = new Int32Array(4);
  /** With log-probabilities, for each token: its rank, then its top ids. */
  #ranked: Int32Array = none;
  /** With log-probabilities, for each token: its own, then the top ones. */
  #logprobs: Float32Array = noFloats;
  #numTokens = 0;
  /** Top log-probabilities per token; −1: none were asked for. */
  #numTop = -1;

  get numTokens(): number {
    return this.#numTokens;
  }

  get sizeBytes(): number {
    return this.#ids.byteLength + this.#ranked.byteLength + this.#logprobs.byteLength;
  }

  add(record: StepRecord): void {
    const { ints, floats, numNew, numTop } = record;
    if (numNew === 0) return;
    const length = this.#numTokens;
    this.#ids = grownInts(this.#ids, length, length + numNew);
    for (let index = 0; index < numNew; index += 1)
      this.#ids[length + index] = ints[record.tokensAt + index]!;
    this.#numTokens = length + numNew;
    this.#numTop = numTop;
    if (numTop < 0) return;
    const width = numTop + 1;
    const from = length * width;
    const count = numNew * width;
    this.#ranked = grownInts(this.#ranked, from, from + count);
    this.#logprobs = grownFloats(this.#logprobs, from, from + count);
    for (let index = 0; index < count; index += 1) {
      this.#ranked[from + index] = ints[record.ranksAt + index]!;
      this.#logprobs[from + index] = floats[record.floatsAt + index]!;
    }
  }

  /** What was added since the last call. */
  take(): { readonly tokenIds: number[]; readonly logprobs: TokenLogprobs[] | null } {
    const tokenIds = Array.from(this.#ids.subarray(0, this.#numTokens));
    const width = this.#numTop + 1;
    const logprobs = width === 0 ? null : tokenIds.map((_, index) => this.#logprobsAt(index * width, width));
    this.#numTokens = 0;
    this.#numTop = -1;
    return { tokenIds, logprobs };
  }

  /** Forgets everything and gives the memory back. */
  clear(): void {
    this.#ids = none;
    this.#ranked = none;
    this.#logprobs = noFloats;
    this.#numTokens = 0;
    this.#numTop = -1;
  }

  #logprobsAt(at: number, width: number): TokenLogprobs {
    return {
      logprob: this.#logprobs[at]!,
      rank: this.#ranked[at]!,
      topIds: Array.from(this.#ranked.subarray(at + 1, at + width)),
      topLogprobs: Array.from(this.#logprobs.subarray(at + 1, at + width)),
    };
  }
}

const none: Int32Array = new Int32Array(0);
const noFloats: Float32Array = new Float32Array(0);

function grownInts(array: Int32Array, used: number, length: number): Int32Array {
  if (length <= array.length) return array;
  const larger = new Int32Array(Math.max(length, array.length * 2));
  larger.set(array.subarray(0, used));
  return larger;
}

function grownFloats(array: Float32Array, used: number, length: number): Float32Array {
  if (length <= array.length) return array;
  const larger = new Float32Array(Math.max(length, array.length * 2));
  larger.set(array.subarray(0, used));
  return larger;
}
