import type { Clock } from "../base/clock.ts";
import type { FinishReason } from "../protocol/engine-client.ts";
import type { TextDelta } from "../text/text-stream.ts";

/** How a sequence ended. */
export interface SequenceEnd {
  readonly reason: FinishReason;
  /** Code of the error that ended it; null where none did. */
  readonly errorCode: string | null;
  /** Milliseconds from its arrival in the engine to its first step; null if it has no token. */
  readonly queuedMs: number | null;
  /** Prompt tokens whose KV came from the cache. */
  readonly cachedTokens: number;
}

export interface SequenceListener {
  onFirst(seconds: number): void;
  onNext(seconds: number): void;
  onTokens(count: number): void;
  onEnd(
    end: SequenceEnd & {
      readonly seconds: number;
      readonly numTokens: number;
      /** From arrival to the first token; null if there was none. */
      readonly firstSeconds: number | null;
      /** From the first token to the last; null if there was none. */
      readonly decodeSeconds: number | null;
    },
  ): void;
}

/** Times one sequence, from arrival to its one outcome. */
export class SequenceTimes {
  readonly #clock: Clock;
  readonly #listener: SequenceListener;
  readonly #arrived: number;
  #first: number | null = null;
  #last = 0;
  #numTokens = 0;

  /** @param arrivedAt when its request came, by the same clock */
  constructor(clock: Clock, arrivedAt: number, listener: SequenceListener) {
    this.#clock = clock;
    this.#listener = listener;
    this.#arrived = arrivedAt;
  }

  add(delta: TextDelta): void {
    if (delta.tokenIds.length === 0) return;
    const now = this.#clock.now();
    if (this.#first === null) {
      this.#first = now;
      this.#listener.onFirst((now - this.#arrived) / 1000);
    } else {
      this.#listener.onNext((now - this.#last) / 1000);
    }
    this.#last = now;
    this.#numTokens += delta.tokenIds.length;
    this.#listener.onTokens(delta.tokenIds.length);
  }

  end(end: SequenceEnd): void {
    const first = this.#first;
    this.#listener.onEnd({
      ...end,
      seconds: (this.#clock.now() - this.#arrived) / 1000,
      numTokens: this.#numTokens,
      firstSeconds: first === null ? null : (first - this.#arrived) / 1000,
      decodeSeconds: first === null ? null : (this.#last - first) / 1000,
    });
  }
}
