import type { EngineOutput } from "../protocol/engine-client.ts";

/**
 * Outputs of one request between the engine and its reader. Holds at most `maxTokens` outputs, since a request makes
 * no more. One reader; leaving its loop early calls `onLeave`.
 */
export class OutputQueue implements AsyncIterableIterator<EngineOutput> {
  readonly #onLeave: () => void;
  readonly #outputs: EngineOutput[] = [];
  #numRead = 0;
  #error: Error | null = null;
  #isEnded = false;
  #waiting: PromiseWithReject | null = null;

  /** @param onLeave called once when the reader leaves before the request has ended */
  constructor(onLeave: () => void) {
    this.#onLeave = onLeave;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  push(output: EngineOutput): void {
    if (this.#isEnded) return;
    this.#isEnded = output.finishReason !== null;
    const waiting = this.#waiting;
    this.#waiting = null;
    if (waiting === null) this.#outputs.push(output);
    else waiting.resolve({ done: false, value: output });
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
    const output = this.#outputs[this.#numRead];
    if (output !== undefined) {
      this.#numRead += 1;
      if (this.#numRead === this.#outputs.length) {
        this.#outputs.length = 0;
        this.#numRead = 0;
      }
      return Promise.resolve({ done: false, value: output });
    }
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
    this.#outputs.length = 0;
    this.#waiting?.resolve({ done: true, value: undefined });
    this.#waiting = null;
    return Promise.resolve({ done: true, value: undefined });
  }
}

interface PromiseWithReject {
  readonly resolve: (result: IteratorResult<EngineOutput>) => void;
  readonly reject: (error: Error) => void;
}
