import type { TokenLogprobs } from "../../protocol/engine-client.ts";
import type { Tokenizer } from "../../tokenizer/tokenizer.ts";

/** JSON has no −Infinity; clients of vLLM know this value. */
const impossible = -9999;

function finite(logprob: number): number {
  return Number.isFinite(logprob) ? Math.max(impossible, logprob) : impossible;
}

function textOf(tokenizer: Tokenizer, id: number): string {
  return tokenizer.decode([id], { skipSpecialTokens: false });
}

/** The `logprobs` object of a completions choice. */
export interface CompletionLogprobs {
  readonly tokens: string[];
  readonly token_logprobs: (number | null)[];
  readonly top_logprobs: (Record<string, number> | null)[];
  readonly text_offset: number[];
}

/** Builds completions logprobs piece by piece; offsets count UTF-16 units of the tokens' own texts. */
export class CompletionLogprobsBuilder {
  readonly #tokenizer: Tokenizer;
  #offset: number;

  constructor(tokenizer: Tokenizer, offset = 0) {
    this.#tokenizer = tokenizer;
    this.#offset = offset;
  }

  build(ids: readonly number[], entries: readonly (TokenLogprobs | null)[]): CompletionLogprobs {
    const out: CompletionLogprobs = { tokens: [], token_logprobs: [], top_logprobs: [], text_offset: [] };
    ids.forEach((id, index) => {
      const entry = entries[index] ?? null;
      const text = textOf(this.#tokenizer, id);
      out.tokens.push(text);
      out.token_logprobs.push(entry === null ? null : finite(entry.logprob));
      out.top_logprobs.push(entry === null ? null : this.#topOf(id, text, entry));
      out.text_offset.push(this.#offset);
      this.#offset += text.length;
    });
    return out;
  }

  #topOf(id: number, text: string, entry: TokenLogprobs): Record<string, number> {
    const top: Record<string, number> = {};
    entry.topIds.forEach((topId, rank) => {
      top[textOf(this.#tokenizer, topId)] ??= finite(entry.topLogprobs[rank]!);
    });
    if (!entry.topIds.includes(id)) top[text] ??= finite(entry.logprob);
    return top;
  }
}

/** Entries of a chat choice's `logprobs.content`. */
export function chatLogprobs(
  tokenizer: Tokenizer,
  ids: readonly number[],
  entries: readonly TokenLogprobs[],
): Record<string, unknown>[] {
  const describe = (id: number, logprob: number): Record<string, unknown> => ({
    token: textOf(tokenizer, id),
    logprob: finite(logprob),
    bytes: [...(tokenizer.tokenBytes(id) ?? [])],
  });
  return ids.map((id, index) => {
    const entry = entries[index]!;
    return {
      ...describe(id, entry.logprob),
      top_logprobs: entry.topIds.map((topId, rank) => describe(topId, entry.topLogprobs[rank]!)),
    };
  });
}
