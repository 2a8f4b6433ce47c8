import type { StepTrace } from "../protocol/engine-client.ts";

const maxSteps = 256;
/** Sequences of all kept steps together, where each step is full. */
const maxEntries = 32_768;

/** The newest steps with who took part in them, in arrays that are written round and round. */
export class StepHistory {
  readonly numShown: number;
  readonly #numSlots: number;
  readonly #maxNumSeqs: number;
  readonly #beginMs: Float64Array;
  readonly #durationMs: Float64Array;
  readonly #numTokens: Int32Array;
  readonly #numSeqs: Int32Array;
  /** [slots, maxNumSeqs] */
  readonly #seqTokens: Int32Array;
  readonly #requestIds: string[];
  #numWritten = 0;

  constructor(maxNumSeqs: number) {
    this.numShown = Math.min(maxSteps, Math.max(8, Math.floor(maxEntries / maxNumSeqs)));
    // One for the step before the oldest, which says who joined that one, and one for the step that runs.
    this.#numSlots = this.numShown + 2;
    this.#maxNumSeqs = maxNumSeqs;
    this.#beginMs = new Float64Array(this.#numSlots);
    this.#durationMs = new Float64Array(this.#numSlots);
    this.#numTokens = new Int32Array(this.#numSlots);
    this.#numSeqs = new Int32Array(this.#numSlots);
    this.#seqTokens = new Int32Array(this.#numSlots * maxNumSeqs);
    this.#requestIds = [];
  }

  begin(beginMs: number): void {
    const slot = this.#numWritten % this.#numSlots;
    this.#beginMs[slot] = beginMs;
    this.#numTokens[slot] = 0;
    this.#numSeqs[slot] = 0;
  }

  add(requestId: string, numTokens: number): void {
    const slot = this.#numWritten % this.#numSlots;
    const at = slot * this.#maxNumSeqs + this.#numSeqs[slot]!;
    this.#requestIds[at] = requestId;
    this.#seqTokens[at] = numTokens;
    this.#numSeqs[slot]! += 1;
    this.#numTokens[slot]! += numTokens;
  }

  /** A step that failed has no end, and the next one takes its place. */
  end(endMs: number): void {
    const slot = this.#numWritten % this.#numSlots;
    this.#durationMs[slot] = endMs - this.#beginMs[slot]!;
    this.#numWritten += 1;
  }

  read(): StepTrace[] {
    const steps: StepTrace[] = [];
    const first = Math.max(0, this.#numWritten - this.numShown);
    for (let index = first; index < this.#numWritten; index += 1) steps.push(this.#stepAt(index));
    return steps;
  }

  #stepAt(index: number): StepTrace {
    const slot = index % this.#numSlots;
    const names = this.#namesAt(index);
    const before = this.#namesAt(index - 1);
    const known = new Set(before);
    const current = new Set(names);
    return {
      index,
      beginMs: this.#beginMs[slot]!,
      durationMs: this.#durationMs[slot]!,
      numTokens: this.#numTokens[slot]!,
      active: names.map((requestId, at) => ({
        requestId,
        numTokens: this.#seqTokens[slot * this.#maxNumSeqs + at]!,
      })),
      joined: names.filter((name) => !known.has(name)),
      left: before.filter((name) => !current.has(name)),
    };
  }

  #namesAt(index: number): string[] {
    if (index < 0) return [];
    const slot = index % this.#numSlots;
    const from = slot * this.#maxNumSeqs;
    return this.#requestIds.slice(from, from + this.#numSeqs[slot]!);
  }
}
