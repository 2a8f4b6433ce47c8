import type * as XGrammar from "@mlc-ai/web-xgrammar";
import { maskChannelWords, type TokenMaskChannel } from "../protocol/token-mask-channel.ts";
import { type Utf8Guard, utf8Start } from "./utf8-guard.ts";

/** What the answers of one model share. */
interface MaskRules {
  readonly guard: Utf8Guard;
  readonly endTokenIds: readonly number[];
}

/**
 * Follows one answer through a grammar, as its channel tells, until the channel is closed. Any fault is told to the
 * other side and ends no other answer.
 */
export async function keepMask(
  library: typeof XGrammar,
  grammar: XGrammar.CompiledGrammar,
  { port, shared }: TokenMaskChannel,
  rules: MaskRules,
): Promise<void> {
  const words = new Int32Array(shared);
  const mask = words.subarray(maskChannelWords.mask);
  let isOpen = true;
  const answer = new GuardedMatcher(await library.GrammarMatcher.createGrammarMatcher(grammar), rules);
  const write = async (): Promise<void> => {
    await answer.fill(mask);
    Atomics.add(words, maskChannelWords.numHandled, 1);
    Atomics.notify(words, maskChannelWords.numHandled);
  };
  const fail = (): void => failChannel({ port, shared });
  const handle = async (message: number): Promise<void> => {
    if (!isOpen) return;
    if (message < 0) answer.rollback(-message);
    else if (!answer.accept(message)) {
      fail();
      return;
    }
    await write();
  };
  // One after the other: the library's promises are settled at once, but not in the same turn.
  let last = write().catch(fail);
  port.on("message", (message: number) => {
    last = last.then(() => handle(message)).catch(fail);
  });
  port.once("close", () => {
    isOpen = false;
    void last.finally(() => answer.dispose());
  });
}

/** Tells the other side that no more masks come. */
export function failChannel({ port, shared }: TokenMaskChannel): void {
  const words = new Int32Array(shared);
  Atomics.store(words, maskChannelWords.hasFailed, 1);
  Atomics.notify(words, maskChannelWords.numHandled);
  port.close();
}

/** The library's matcher, within UTF-8 and with an end that may be told again. */
class GuardedMatcher {
  readonly #matcher: XGrammar.GrammarMatcher;
  readonly #rules: MaskRules;
  /** How the bytes ended before each accepted token, and how they end now. */
  readonly #states: number[] = [utf8Start];
  /** Accepted tokens of which the matcher, at its end, knows nothing. */
  #numPastEnd = 0;

  constructor(matcher: XGrammar.GrammarMatcher, rules: MaskRules) {
    this.#matcher = matcher;
    this.#rules = rules;
  }

  async fill(mask: Int32Array): Promise<void> {
    const { guard, endTokenIds } = this.#rules;
    if (this.#matcher.isTerminated()) {
      // What has come to its end may only end.
      mask.fill(0);
      for (const id of endTokenIds) mask[id >>> 5]! |= 1 << (id & 31);
      return;
    }
    mask.set(await this.#matcher.getNextTokenBitmask());
    guard.restrict(mask, this.#states.at(-1)!);
  }

  /** False where the grammar has no place for the token. */
  accept(tokenId: number): boolean {
    if (this.#matcher.isTerminated()) {
      this.#numPastEnd += 1;
      return true;
    }
    if (!this.#matcher.acceptToken(tokenId)) return false;
    this.#states.push(this.#rules.guard.after(this.#states.at(-1)!, tokenId));
    return true;
  }

  rollback(count: number): void {
    const numPast = Math.min(count, this.#numPastEnd);
    this.#numPastEnd -= numPast;
    if (count === numPast) return;
    this.#matcher.rollBack(count - numPast);
    this.#states.length -= count - numPast;
  }

  dispose(): void {
    this.#matcher.dispose();
  }
}
