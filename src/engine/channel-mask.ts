import { MillraceError } from "../base/errors.ts";
import { maskChannelWords, type TokenMaskChannel } from "../protocol/token-mask-channel.ts";
import type { TokenMask } from "./token-mask.ts";

/** Longest wait for a mask. One takes well under a millisecond; the thread may be compiling a grammar before it. */
const longestWaitMs = 10_000;

/**
 * A mask that another thread keeps. Tokens are told as soon as they are drawn, so that the next mask is made while the
 * model computes; `fill` waits only where it is not there yet.
 */
export class ChannelMask implements TokenMask {
  fault: MillraceError | null = null;
  readonly #channel: TokenMaskChannel;
  readonly #words: Int32Array;
  readonly #mask: Uint32Array;
  #numSent = 0;

  constructor(channel: TokenMaskChannel) {
    this.#channel = channel;
    this.#words = new Int32Array(channel.shared);
    this.#mask = new Uint32Array(channel.shared, maskChannelWords.mask * 4);
  }

  fill(into: Uint32Array, at: number): void {
    if (this.#isReady()) into.set(this.#mask, at);
    else {
      this.fault ??= maskFailed();
      into.fill(0, at, at + this.#mask.length);
    }
  }

  accept(tokenId: number): void {
    this.#send(tokenId);
  }

  rollback(count: number): void {
    this.#send(-count);
  }

  close(): void {
    this.#channel.port.close();
  }

  #send(message: number): void {
    this.#channel.port.postMessage(message);
    this.#numSent += 1;
  }

  /** Waits until the other side has handled all that was sent; false where it failed or takes too long. */
  #isReady(): boolean {
    const endMs = performance.now() + longestWaitMs;
    while (Atomics.load(this.#words, maskChannelWords.hasFailed) === 0) {
      const numHandled = Atomics.load(this.#words, maskChannelWords.numHandled);
      if (numHandled === this.#numSent) return true;
      const restMs = endMs - performance.now();
      if (restMs <= 0) return false;
      Atomics.wait(this.#words, maskChannelWords.numHandled, numHandled, restMs);
    }
    return false;
  }
}

function maskFailed(): MillraceError {
  return new MillraceError(
    "engine_failed",
    "The thread that keeps the grammar of this request failed or gave no answer. Send the request again; report it if it stays.",
  );
}
