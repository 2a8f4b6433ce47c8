import type * as XGrammar from "@mlc-ai/web-xgrammar";
import { maskChannelWords, type TokenMaskChannel } from "../protocol/token-mask-channel.ts";

/**
 * Follows one answer through a grammar, as its channel tells, until the channel is closed. Any fault is told to the
 * other side and ends no other answer.
 */
export async function keepMask(
  library: typeof XGrammar,
  grammar: XGrammar.CompiledGrammar,
  { port, shared }: TokenMaskChannel,
  endTokenIds: readonly number[],
): Promise<void> {
  const words = new Int32Array(shared);
  const mask = words.subarray(maskChannelWords.mask);
  let isOpen = true;
  const matcher = await library.GrammarMatcher.createGrammarMatcher(grammar);
  const write = async (): Promise<void> => {
    if (matcher.isTerminated()) fillEnd(mask, endTokenIds);
    else mask.set(await matcher.getNextTokenBitmask());
    Atomics.add(words, maskChannelWords.numHandled, 1);
    Atomics.notify(words, maskChannelWords.numHandled);
  };
  const fail = (): void => failChannel({ port, shared });
  const handle = async (message: number): Promise<void> => {
    if (!isOpen) return;
    if (message < 0) matcher.rollBack(-message);
    else if (!matcher.isTerminated() && !matcher.acceptToken(message)) {
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
    void last.finally(() => matcher.dispose());
  });
}

/** Tells the other side that no more masks come. */
export function failChannel({ port, shared }: TokenMaskChannel): void {
  const words = new Int32Array(shared);
  Atomics.store(words, maskChannelWords.hasFailed, 1);
  Atomics.notify(words, maskChannelWords.numHandled);
  port.close();
}

/** What has come to its end may only end. */
function fillEnd(mask: Int32Array, endTokenIds: readonly number[]): void {
  mask.fill(0);
  for (const id of endTokenIds) mask[id >>> 5]! |= 1 << (id & 31);
}
