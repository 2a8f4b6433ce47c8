import type { ScoreRequest, ScoreResult } from "../protocol/engine-client.ts";

interface OpenScore {
  readonly start: number;
  readonly topK: number;
  readonly result: ScoreResult;
}

/** The results of open score requests, filled chunk by chunk, by row of the sequence table. */
export class ScoreTable {
  readonly #open: (OpenScore | null)[];

  /** @param capacity rows of the sequence table */
  constructor(capacity: number) {
    this.#open = Array.from({ length: capacity }, () => null);
  }

  admit(row: number, request: ScoreRequest): void {
    this.#open[row] = { start: request.start, topK: request.topK, result: emptyScore(request) };
  }

  release(row: number): void {
    this.#open[row] = null;
  }

  /** Position of the first token that is scored. */
  start(row: number): number {
    return this.#entry(row).start;
  }

  topK(row: number): number {
    return this.#entry(row).topK;
  }

  result(row: number): ScoreResult {
    return this.#entry(row).result;
  }

  #entry(row: number): OpenScore {
    return this.#open[row]!;
  }
}

/** A result of the right size, to be filled in. */
export function emptyScore(request: ScoreRequest): ScoreResult {
  const count = request.tokenIds.length - request.start;
  return {
    logprobs: new Float32Array(count),
    argmax: new Int32Array(count),
    topIds: new Int32Array(count * request.topK),
    topLogprobs: new Float32Array(count * request.topK),
  };
}
