import type { MessagePort } from "node:worker_threads";

/**
 * One sequence's way to the thread that knows which tokens may come next: plain data, which may be sent to another
 * thread. It belongs to whoever was given it last; closing the port frees what the other side holds.
 *
 * To the port: a token id accepts that token; −n takes back the last n. After each, and once at the start, the other
 * side writes the mask of the next token and then the number of messages handled.
 */
export interface TokenMaskChannel {
  readonly port: MessagePort;
  /** 32-bit words: messages handled (−1 until the first mask is there), 1 where the other side failed, then the mask. */
  readonly shared: SharedArrayBuffer;
}

/** Places of the words before the mask. */
export const maskChannelWords = { numHandled: 0, hasFailed: 1, mask: 2 } as const;

/** A grammar that is compiled: each answer that is to follow it opens a channel of its own. */
export interface TokenGrammar {
  open(): TokenMaskChannel;
}
