import type { PromptLogprobs } from "../../text/prompt-logprobs.ts";
import type { Tokenizer } from "../../tokenizer/tokenizer.ts";
import { clampLogprob, describeToken } from "../generation/token-logprobs.ts";

export interface CompletionLogprobs {
  readonly text_offset: number[];
  readonly token_logprobs: (number | null)[];
  readonly tokens: string[];
  readonly top_logprobs: (Record<string, number> | null)[];
}

/** The alternatives of one position with what the engine says of the token itself. */
export interface ScoredToken {
  readonly id: number;
  readonly logprob: number;
  readonly topIds: ArrayLike<number>;
  readonly topLogprobs: ArrayLike<number>;
}

/**
 * The completions endpoint's form, built piece by piece over one choice: offsets count characters (code points) of
 * the tokens before.
 */
export class CompletionLogprobsBuilder {
  readonly #tokenizer: Tokenizer;
  #offset = 0;

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer;
  }

  /** The first token of a prompt: nothing comes before it, so it has no probability. */
  addUnscored(into: CompletionLogprobs, id: number): void {
    this.#addToken(into, id);
    into.token_logprobs.push(null);
    into.top_logprobs.push(null);
  }

  add(into: CompletionLogprobs, token: ScoredToken): void {
    const text = this.#addToken(into, token.id);
    into.token_logprobs.push(clampLogprob(token.logprob));
    const top: Record<string, number> = {};
    for (let rank = 0; rank < token.topIds.length; rank += 1) {
      const other = describeToken(this.#tokenizer, token.topIds[rank]!).text;
      // Different tokens may look alike; the more likely one keeps the name.
      if (!Object.hasOwn(top, other)) setOwn(top, other, clampLogprob(token.topLogprobs[rank]!));
    }
    if (!Object.hasOwn(top, text)) setOwn(top, text, clampLogprob(token.logprob));
    into.top_logprobs.push(top);
  }

  #addToken(into: CompletionLogprobs, id: number): string {
    const { text, bytes } = describeToken(this.#tokenizer, id);
    into.tokens.push(text);
    into.text_offset.push(this.#offset);
    // Bytes that begin a character; the others belong to one that an earlier token began.
    for (const byte of bytes) if ((byte & 0xc0) !== 0x80) this.#offset += 1;
    return text;
  }
}

/** Plain assignment would change the prototype for a token that reads `__proto__`. */
function setOwn(target: Record<string, number>, key: string, value: number): void {
  Object.defineProperty(target, key, { value, enumerable: true, configurable: true, writable: true });
}

export function emptyCompletionLogprobs(): CompletionLogprobs {
  return { text_offset: [], token_logprobs: [], tokens: [], top_logprobs: [] };
}

/** One token of a prompt or one that was likely in its place. */
export interface PromptLogprob {
  readonly logprob: number;
  /** 1 = most likely; null where it is not among those asked for. */
  readonly rank: number | null;
  readonly decoded_token: string;
}

/** vLLM's `prompt_logprobs`: by token id, for each token of the prompt; null for the first. */
export type PromptLogprobsBody = readonly (Readonly<Record<string, PromptLogprob>> | null)[];

export function promptLogprobsBody(tokenizer: Tokenizer, tokens: PromptLogprobs): PromptLogprobsBody {
  const entry = (id: number, logprob: number, rank: number | null): [string, PromptLogprob] => [
    String(id),
    { logprob: clampLogprob(logprob), rank, decoded_token: describeToken(tokenizer, id).text },
  ];
  return tokens.map((token) => {
    if (token === null) return null;
    const top = token.topIds.map((id, place) => entry(id, token.topLogprobs[place]!, place + 1));
    return Object.fromEntries([...top, entry(token.tokenId, token.logprob, token.rank)]);
  });
}
