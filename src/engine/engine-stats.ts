import { sharedNow } from "../base/clock.ts";
import { type EngineStats, maxSpecTokens, stepTokenEdges } from "../protocol/engine-client.ts";

/** Where each number stands in the shared array. */
const fields = {
  numRunning: 0,
  numWaiting: 1,
  numFreeBlocks: 2,
  numTotalBlocks: 3,
  blockSize: 4,
  promptTokens: 5,
  generationTokens: 6,
  numPreemptions: 7,
  numSteps: 8,
  numAborted: 9,
  numFinished: 10,
  isBusy: 11,
  lastStepEndMs: 12,
  numSwapped: 13,
  prefixCacheQueries: 14,
  prefixCacheHits: 15,
  numSwappedBlocks: 16,
  numRecomputedTokens: 17,
  numPrefixMismatches: 18,
  numDrafts: 19,
  numDraftTokens: 20,
  numAcceptedTokens: 21,
  numRefused: 22,
  numExpired: 23,
  numFailed: 24,
  numWaitingTokens: 25,
  retryAfterSeconds: 26,
  numDeferred: 27,
  numSpeculationFailures: 28,
  numStepTokens: 29,
  scheduleMs: 30,
  computeMs: 31,
  publishMs: 32,
} as const;

/** Behind the fields: guesses verified, and right ones, by position; then steps by their tokens. */
const draftedAt = Object.keys(fields).length;
const acceptedAt = draftedAt + maxSpecTokens;
const stepsAt = acceptedAt + maxSpecTokens;
const numCounters = stepsAt + stepTokenEdges.length + 1;

type Field = keyof typeof fields;

/**
 * The engine's figures in one array of doubles, which may be shared between threads: a reader sees them without
 * asking, also while a step runs or hangs. Single figures are never torn; figures of one reading may be of two steps.
 */
export class EngineCounters {
  readonly values: Float64Array;

  constructor(buffer: ArrayBufferLike = new ArrayBuffer(counterBytes)) {
    this.values = new Float64Array(buffer);
  }

  set(field: Field, value: number): void {
    this.values[fields[field]] = value;
  }

  add(field: Field, amount: number): void {
    this.values[fields[field]]! += amount;
  }

  /** A sequence's `numDrafts` guesses were verified; the first `numAccepted` were right. */
  addDrafts(numDrafts: number, numAccepted: number): void {
    this.add("numDrafts", 1);
    this.add("numDraftTokens", numDrafts);
    this.add("numAcceptedTokens", numAccepted);
    for (let position = 0; position < numDrafts; position += 1) {
      this.values[draftedAt + position]! += 1;
      if (position < numAccepted) this.values[acceptedAt + position]! += 1;
    }
  }

  addStep(numTokens: number): void {
    this.add("numSteps", 1);
    this.add("numStepTokens", numTokens);
    let size = 0;
    while (size < stepTokenEdges.length && numTokens > stepTokenEdges[size]!) size += 1;
    this.values[stepsAt + size]! += 1;
  }

  get(field: Field): number {
    return this.values[fields[field]]!;
  }

  read(): EngineStats {
    const isBusy = this.get("isBusy") === 1;
    return {
      numRunning: this.get("numRunning"),
      numWaiting: this.get("numWaiting"),
      numDeferred: this.get("numDeferred"),
      numWaitingTokens: this.get("numWaitingTokens"),
      retryAfterSeconds: this.get("retryAfterSeconds"),
      numFreeBlocks: this.get("numFreeBlocks"),
      numTotalBlocks: this.get("numTotalBlocks"),
      blockSize: this.get("blockSize"),
      promptTokens: this.get("promptTokens"),
      generationTokens: this.get("generationTokens"),
      numPreemptions: this.get("numPreemptions"),
      numSteps: this.get("numSteps"),
      numStepTokens: this.get("numStepTokens"),
      numStepsByTokens: Array.from(this.values.subarray(stepsAt, numCounters)),
      scheduleMs: this.get("scheduleMs"),
      computeMs: this.get("computeMs"),
      publishMs: this.get("publishMs"),
      numAborted: this.get("numAborted"),
      numFinished: this.get("numFinished"),
      numRefused: this.get("numRefused"),
      numExpired: this.get("numExpired"),
      numFailed: this.get("numFailed"),
      numSwapped: this.get("numSwapped"),
      prefixCacheQueries: this.get("prefixCacheQueries"),
      prefixCacheHits: this.get("prefixCacheHits"),
      numSwappedBlocks: this.get("numSwappedBlocks"),
      numRecomputedTokens: this.get("numRecomputedTokens"),
      numPrefixMismatches: this.get("numPrefixMismatches"),
      numDrafts: this.get("numDrafts"),
      numDraftTokens: this.get("numDraftTokens"),
      numAcceptedTokens: this.get("numAcceptedTokens"),
      numSpeculationFailures: this.get("numSpeculationFailures"),
      numDraftTokensPerPos: Array.from(this.values.subarray(draftedAt, acceptedAt)),
      numAcceptedTokensPerPos: Array.from(this.values.subarray(acceptedAt, stepsAt)),
      lastStepAgeMs: isBusy ? Math.max(0, sharedNow() - this.get("lastStepEndMs")) : 0,
    };
  }
}

export const counterBytes: number = numCounters * Float64Array.BYTES_PER_ELEMENT;
