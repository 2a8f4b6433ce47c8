import { MillraceError } from "../../base/errors.ts";
import type { Tokenizer } from "../../tokenizer/tokenizer.ts";
import { prefixToken } from "../requests/request-tokens.ts";

/** A text as sequences of tokens that begin anew. */
export interface TextWindows {
  /** [1 + tokens] each: the prefix token, then what is predicted. */
  readonly windows: readonly Int32Array[];
  readonly numWindows: number;
  /** Predicted tokens of each; the last one may have fewer. */
  readonly windowSize: number;
  /** The vocabulary's text of the token before each window. */
  readonly prefix: string;
}

export interface WindowOptions {
  readonly size: number;
  /** Predicted tokens in all; null for the whole text. */
  readonly maxTokens: number | null;
}

/**
 * Cuts a text, encoded as a whole and without special tokens, into windows that follow each other, so that every token is
 * predicted once. Throws `invalid_data_file` for a text without tokens, `no_tokenizer` where no token can begin a text.
 */
export function cutWindows(
  tokenizer: Tokenizer,
  text: string,
  { size, maxTokens }: WindowOptions,
): TextWindows {
  const ids = tokenizer.encode(text, { addSpecialTokens: false }).slice(0, maxTokens ?? undefined);
  if (ids.length === 0) {
    throw new MillraceError(
      "invalid_data_file",
      "The text of --text has no token. Give one with some words.",
      {
        param: "--text",
      },
    );
  }
  const prefix = prefixToken(tokenizer);
  const windows: Int32Array[] = [];
  for (let at = 0; at < ids.length; at += size)
    windows.push(Int32Array.from([prefix, ...ids.slice(at, at + size)]));
  return {
    windows,
    numWindows: windows.length,
    windowSize: Math.min(size, ids.length),
    prefix: tokenizer.tokenText(prefix),
  };
}
