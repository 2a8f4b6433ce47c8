import type { EngineOutput, FinishReason, RequestTrace } from "../protocol/engine-client.ts";
import type { StepRecord } from "./step-record.ts";
import { TokenBuffer } from "./token-buffer.ts";

/**
 * Outputs of one request between the engine and its reader. What comes while the reader is busy is put together, so
 * that a late reader gets one output with many tokens, and what waits is at most the numbers of `maxTokens` tokens.
 * The sequence itself goes on: to hold it back would keep its KV blocks from others. One reader; leaving its loop
 * early calls `onLeave`.
 */
export class OutputQueue implements AsyncIterableIterator<EngineOutput> {
  readonly #requestId: string;
  readonly #onLeave: () => void;
  readonly #tokens = new TokenBuffer();
  #hasOutput = false;
  #finishReason: FinishReason | null = null;
  #stopReason: number | null = null;
  #numCachedTokens = 0;
  #queuedMs: number | null = null;
  #trace: RequestTrace | null = null;
  #error: Error | null = null;
  #isEnded = false;
  #waiting: PromiseWithReject | null = null;

  /** @param onLeave called once when the reader leaves before the request has ended */
  constructor(requestId: string, onLeave: () => void) {
    this.#requestId = requestId;
    this.#onLeave = onLeave;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Bytes of the tokens that wait for the reader. */
  get sizeBytes(): number {
    return this.#tokens.sizeBytes;
  }

  /** Adds what a step brought; `deliver` hands it over. */
  add(record: StepRecord): void {
    if (this.#isEnded) return;
    this.#tokens.add(record);
    this.#hasOutput = true;
    this.#finishReason = record.finishReason;
    this.#stopReason = record.stopReason;
    this.#numCachedTokens = record.numCachedTokens;
    this.#isEnded = record.finishReason !== null;
  }

  /** How long the request waited for its first step, for the first output to tell. */
  start(queuedMs: number): void {
    this.#queuedMs = queuedMs;
  }

  /** What the last output is to tell of the request's life. */
  explain(trace: RequestTrace): void {
    this.#trace = trace;
  }

  /** Wakes the reader if there is something for it. */
  deliver(): void {
    const waiting = this.#waiting;
    if (waiting === null || !this.#hasOutput) return;
    this.#waiting = null;
    waiting.resolve({ done: false, value: this.#take() });
  }

  /** Ends the request with an error, which the reader gets after the outputs before it. */
  fail(error: Error): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    const waiting = this.#waiting;
    this.#waiting = null;
    if (waiting === null) this.#error = error;
    else waiting.reject(error);
  }

  next(): Promise<IteratorResult<EngineOutput>> {
    if (this.#hasOutput) return Promise.resolve({ done: false, value: this.#take() });
    if (this.#error !== null) {
      const error = this.#error;
      this.#error = null;
      return Promise.reject(error);
    }
    if (this.#isEnded) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }

  return(): Promise<IteratorResult<EngineOutput>> {
    if (!this.#isEnded) {
      this.#isEnded = true;
      this.#onLeave();
    }
    this.#hasOutput = false;
    this.#tokens.clear();
    this.#waiting?.resolve({ done: true, value: undefined });
    this.#waiting = null;
    return Promise.resolve({ done: true, value: undefined });
  }

  #take(): EngineOutput {
    const { tokenIds, logprobs } = this.#tokens.take();
    this.#hasOutput = false;
    if (this.#isEnded) this.#tokens.clear();
    const trace = this.#finishReason === null ? null : this.#trace;
    const queuedMs = this.#queuedMs;
    this.#queuedMs = null;
    return {
      requestId: this.#requestId,
      newTokenIds: tokenIds,
      logprobs,
      finishReason: this.#finishReason,
      stopReason: this.#stopReason,
      numCachedTokens: this.#numCachedTokens,
      ...(queuedMs === null ? {} : { queuedMs }),
      ...(trace === null ? {} : { trace }),
    };
  }
}

interface PromiseWithReject {
  readonly resolve: (result: IteratorResult<EngineOutput>) => void;
  readonly reject: (error: Error) => void;
}
