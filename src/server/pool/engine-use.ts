import type { EngineOutput } from "../../protocol/engine-client.ts";

/** One question to an engine that may be away: a request, a score, a load of an adapter. */
export class EngineUse {
  /** Resolves once nobody waits for the engine on its behalf any more. */
  readonly left: Promise<null>;
  /** Whether it has the engine, which must not be put away until it is over. */
  isHolding = false;
  #isLeft = false;
  #resolveLeft: (nothing: null) => void = () => {};

  constructor() {
    this.left = new Promise((resolve) => {
      this.#resolveLeft = resolve;
    });
  }

  get isLeft(): boolean {
    return this.#isLeft;
  }

  leave(): void {
    this.#isLeft = true;
    this.#resolveLeft(null);
  }
}

/** What an engine says of a request that is aborted before its first step. */
export async function* abortedOutputs(requestId: string): AsyncGenerator<EngineOutput> {
  const nothing = { newTokenIds: [], logprobs: null, stopReason: null, numCachedTokens: 0 };
  yield { requestId, ...nothing, finishReason: "abort" };
}

/** Outputs on their way, with `onEnd` once, however they end. Leaving them is not held up by one that is awaited. */
export class CountedOutputs implements AsyncIterator<EngineOutput> {
  readonly #outputs: Promise<AsyncIterator<EngineOutput>>;
  #onEnd: (() => void) | null;

  constructor(outputs: Promise<AsyncIterable<EngineOutput>>, onEnd: () => void) {
    this.#outputs = outputs.then((iterable) => iterable[Symbol.asyncIterator]());
    // Told by `next`; who leaves before does not want to know.
    this.#outputs.catch(() => {});
    this.#onEnd = onEnd;
  }

  async next(): Promise<IteratorResult<EngineOutput>> {
    try {
      const result = await (await this.#outputs).next();
      if (result.done === true) this.#end();
      return result;
    } catch (error) {
      this.#end();
      throw error;
    }
  }

  async return(): Promise<IteratorResult<EngineOutput>> {
    this.#end();
    await this.#outputs.then((outputs) => outputs.return?.()).catch(() => {});
    return { done: true, value: undefined };
  }

  #end(): void {
    this.#onEnd?.();
    this.#onEnd = null;
  }
}
