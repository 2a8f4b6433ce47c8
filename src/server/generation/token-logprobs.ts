import type { TokenLogprobs } from "../../protocol/engine-client.ts";
import type { Tokenizer } from "../../tokenizer/tokenizer.ts";

/** What JSON can hold in place of minus infinity; vLLM's value. */
const leastLogprob = -9999;

export function clampLogprob(logprob: number): number {
  return Number.isNaN(logprob) ? leastLogprob : Math.max(leastLogprob, logprob);
}

/** A token as text and bytes. A token that is a part of a character shows U+FFFD; its bytes are exact. */
export function describeToken(
  tokenizer: Tokenizer,
  id: number,
): { readonly text: string; readonly bytes: Uint8Array } {
  const bytes = tokenizer.isSpecial(id) ? undefined : tokenizer.tokenBytes(id);
  if (bytes !== undefined) return { text: Buffer.from(bytes).toString("utf8"), bytes };
  const text = tokenizer.tokenText(id);
  return { text, bytes: Buffer.from(text, "utf8") };
}

export interface ChatLogprob {
  readonly token: string;
  readonly logprob: number;
  readonly bytes: readonly number[];
}

export interface ChatTokenLogprobs extends ChatLogprob {
  readonly top_logprobs: readonly ChatLogprob[];
}

/** The form of chat and of responses: one entry per token with its alternatives, most likely first. */
export function chatLogprobs(
  tokenizer: Tokenizer,
  tokenIds: readonly number[],
  logprobs: readonly TokenLogprobs[],
): ChatTokenLogprobs[] {
  const entry = (id: number, logprob: number): ChatLogprob => {
    const { text, bytes } = describeToken(tokenizer, id);
    return { token: text, logprob: clampLogprob(logprob), bytes: [...bytes] };
  };
  return logprobs.map((row, index) => ({
    ...entry(tokenIds[index]!, row.logprob),
    top_logprobs: row.topIds.map((id, rank) => entry(id, row.topLogprobs[rank]!)),
  }));
}
