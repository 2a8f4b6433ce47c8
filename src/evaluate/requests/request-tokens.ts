import { MillraceError } from "../../base/errors.ts";
import type { ScoreRequest } from "../../protocol/engine-client.ts";
import type { Tokenizer } from "../../tokenizer/tokenizer.ts";
import { numCodePoints, stripEnd } from "../python-text.ts";

/** How texts become token ids, with what a run needs of its tokenizer. */
export interface RequestEncoder {
  readonly tokenizer: Tokenizer;
  /** Most tokens the model reads at once; a score request may hold one more, which is only predicted. */
  readonly maxLength: number;
}

/** A request for scores, and how many tokens at its left end had no room. */
export interface EncodedPair {
  readonly request: ScoreRequest;
  readonly numLost: number;
}

/** A prompt to be continued, and how many tokens at its left end had no room. */
export interface EncodedPrompt {
  readonly tokenIds: readonly number[];
  readonly numLost: number;
}

/**
 * Token ids of a continuation after a context as lm-eval's Hugging Face class makes them: white space at the end of
 * the context moves to the continuation, both are encoded together and cut at the length of the encoded context, and
 * what is too long loses its left end. An empty context becomes the prefix token.
 * Throws `context_length_exceeded` for a continuation longer than the model reads, `invalid_data_file` for one
 * without tokens.
 */
export function encodePair(encoder: RequestEncoder, context: string, continuation: string): EncodedPair {
  const { tokenizer, maxLength } = encoder;
  const { contextIds, continuationIds } = splitPair(tokenizer, context, continuation);
  if (continuationIds.length === 0) {
    throw new MillraceError(
      "invalid_data_file",
      `The answer ${JSON.stringify(continuation.slice(0, 60))} has no token of its own after its context. Give it at least one character.`,
    );
  }
  if (continuationIds.length > maxLength) {
    throw new MillraceError(
      "context_length_exceeded",
      `An answer of ${numCodePoints(continuation)} characters has ${continuationIds.length} tokens; the model reads ${maxLength}. Raise --max-model-len or leave the document out.`,
    );
  }
  const all = [...contextIds, ...continuationIds];
  const tokenIds = all.slice(-(maxLength + 1));
  const request = { tokenIds, start: tokenIds.length - continuationIds.length, topK: 0 };
  return { request, numLost: all.length - tokenIds.length };
}

interface Pair {
  readonly contextIds: readonly number[];
  readonly continuationIds: readonly number[];
}

function splitPair(tokenizer: Tokenizer, context: string, continuation: string): Pair {
  if (context === "") {
    const prefix = prefixToken(tokenizer);
    const ids = tokenizer.encode(continuation, { addSpecialTokens: false });
    return ids[0] === prefix
      ? { contextIds: [prefix], continuationIds: ids.slice(1) }
      : { contextIds: [prefix], continuationIds: ids };
  }
  const bare = stripEnd(context);
  // A context of white space only keeps the prefix token, because something must come before the first token.
  if (bare === "") return splitPair(tokenizer, "", context + continuation);
  const contextIds = encodeText(tokenizer, bare);
  return {
    contextIds,
    continuationIds: encodeText(tokenizer, context + continuation).slice(contextIds.length),
  };
}

/**
 * The windows in which every token of a text is predicted once (lm-eval's rolling log-likelihood): the first
 * `maxLength` tokens after the prefix token, then up to `maxLength` at a time, each window filled up with the tokens
 * before.
 */
export function encodeRolling(encoder: RequestEncoder, text: string): ScoreRequest[] {
  const { tokenizer, maxLength } = encoder;
  const ids = encodeText(tokenizer, text);
  if (ids.length === 0) return [];
  const first = Math.min(maxLength, ids.length);
  const windows: ScoreRequest[] = [
    { tokenIds: [prefixToken(tokenizer), ...ids.slice(0, first)], start: 1, topK: 0 },
  ];
  for (let predicted = first; predicted < ids.length; ) {
    const count = Math.min(ids.length - predicted, maxLength);
    predicted += count;
    const tokenIds = ids.slice(predicted - maxLength - 1, predicted);
    windows.push({ tokenIds, start: tokenIds.length - count, topK: 0 });
  }
  return windows;
}

/** With the special tokens that the tokenizer adds by itself, unless the text begins with the prefix token's text. */
function encodeText(tokenizer: Tokenizer, text: string): number[] {
  const prefixText = tokenizer.decode([prefixToken(tokenizer)], { skipSpecialTokens: false });
  return tokenizer.encode(text, { addSpecialTokens: prefixText === "" || !text.startsWith(prefixText) });
}

/** BOS, or the end token of models without one. Throws `no_tokenizer` where there is neither. */
export function prefixToken(tokenizer: Tokenizer): number {
  const id = tokenizer.bosTokenId ?? tokenizer.eosTokenIds[0];
  if (id !== undefined) return id;
  throw new MillraceError(
    "no_tokenizer",
    "The tokenizer names neither a BOS nor an EOS token, and one must stand before the first scored token. Give another with --tokenizer.",
  );
}

/**
 * Token ids of a prompt to be continued by at most `maxNewTokens`; what does not fit beside them is cut off at the
 * left. Throws `context_length_exceeded` where no room is left for the prompt.
 */
export function encodePrompt(encoder: RequestEncoder, prompt: string, maxNewTokens: number): EncodedPrompt {
  const room = encoder.maxLength - maxNewTokens;
  if (room < 1) {
    throw new MillraceError(
      "context_length_exceeded",
      `The task asks for answers of up to ${maxNewTokens} tokens; the model has a context of ${encoder.maxLength}, which leaves none for the prompt. Raise --max-model-len, or lower the answer with --gen-kwargs max_gen_toks=${Math.floor(encoder.maxLength / 2)}.`,
      { param: "--gen-kwargs" },
    );
  }
  const all = encodeText(encoder.tokenizer, prompt);
  const tokenIds = all.slice(-room);
  return { tokenIds, numLost: all.length - tokenIds.length };
}
