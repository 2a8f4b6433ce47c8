import type { TokenizerSource } from "../formats/checkpoint.ts";
import { JinjaChatTemplate } from "./chat-template.ts";
import { createHfTokenizer, type HfTokenizer } from "./hf-tokenizer.ts";
import { type TokenTable, Utf8TokenDecoder } from "./incremental-decoder.ts";
import type { SpecialTokens } from "./special-tokens.ts";
import { readSpecialTokens } from "./special-tokens.ts";
import { type TokenDecoding, tokenDecoding } from "./token-bytes.ts";
import type { ChatTemplate, EncodeOptions, IncrementalDecoder, Tokenizer } from "./tokenizer.ts";
import { readVocabulary, type Vocabulary } from "./vocabulary.ts";

interface DecodeOptions {
  readonly skipSpecialTokens?: boolean;
}

/**
 * Builds a tokenizer from tokenizer.json and its companions. Special tokens in a text are recognised.
 * Throws `unsupported_format` for tokenizers that are neither byte-level BPE nor SentencePiece-like, and
 * `invalid_model_file` for damaged files.
 */
export function createTokenizer(source: TokenizerSource): Tokenizer {
  const vocabulary = readVocabulary(source);
  return new SourceTokenizer(source, vocabulary, readSpecialTokens(source, vocabulary));
}

const utf8: InstanceType<typeof TextDecoder> = new TextDecoder("utf-8", { ignoreBOM: true });
const strictUtf8: InstanceType<typeof TextDecoder> = new TextDecoder("utf-8", {
  ignoreBOM: true,
  fatal: true,
});

class SourceTokenizer implements Tokenizer {
  readonly vocabSize: number;
  readonly bosTokenId: number | null;
  readonly eosTokenIds: readonly number[];
  readonly chatTemplate: ChatTemplate | null;
  readonly #library: HfTokenizer;
  readonly #vocabulary: Vocabulary;
  readonly #decoding: TokenDecoding;
  /** Filled as tokens are met; null marks tokens whose bytes are not whole characters. */
  readonly #wholeTexts: (string | null | undefined)[] = [];
  readonly #bytes: (Uint8Array | undefined)[] = [];

  constructor(source: TokenizerSource, vocabulary: Vocabulary, special: SpecialTokens) {
    this.#library = createHfTokenizer(source, vocabulary.ids);
    this.#decoding = tokenDecoding(source.tokenizerJson["decoder"]);
    this.#vocabulary = vocabulary;
    this.vocabSize = vocabulary.size;
    this.bosTokenId = special.bosTokenId;
    this.eosTokenIds = special.eosTokenIds;
    this.chatTemplate =
      source.chatTemplate === null ? null : new JinjaChatTemplate(source.chatTemplate, special.texts);
  }

  encode(text: string, options: EncodeOptions = {}): number[] {
    const { ids } = this.#library.encode(text, { add_special_tokens: options.addSpecialTokens ?? true });
    // The library yields undefined for a character outside a vocabulary without an unknown token; the original drops it.
    return ids.filter((id) => id !== undefined);
  }

  decode(ids: readonly number[], options: DecodeOptions = {}): string {
    const skips = options.skipSpecialTokens ?? true;
    const parts: Uint8Array[] = [];
    let length = 0;
    for (const id of ids) {
      const bytes = skips && this.isSpecial(id) ? undefined : this.tokenBytes(id);
      if (bytes === undefined) continue;
      parts.push(bytes);
      length += bytes.length;
    }
    const all = new Uint8Array(length);
    let at = 0;
    for (const part of parts) {
      all.set(part, at);
      at += part.length;
    }
    const text = utf8.decode(all);
    return this.#decoding.stripsLeadingSpace && text.startsWith(" ") ? text.slice(1) : text;
  }

  tokenBytes(id: number): Uint8Array | undefined {
    const known = this.#bytes[id];
    if (known !== undefined) return known;
    const text = this.#vocabulary.textOf(id);
    if (text === undefined) return undefined;
    const bytes = this.#vocabulary.isAdded(id)
      ? new TextEncoder().encode(text)
      : this.#decoding.bytesOf(text);
    this.#bytes[id] = bytes;
    return bytes;
  }

  tokenText(id: number): string {
    return this.#vocabulary.textOf(id) ?? "";
  }

  isSpecial(id: number): boolean {
    return this.#vocabulary.isSpecial(id);
  }

  stream(options: DecodeOptions = {}): IncrementalDecoder {
    const skips = options.skipSpecialTokens ?? true;
    const table: TokenTable = {
      bytes: (id) => (skips && this.isSpecial(id) ? undefined : this.tokenBytes(id)),
      wholeText: (id) => (skips && this.isSpecial(id) ? "" : this.#wholeText(id)),
    };
    return new Utf8TokenDecoder(table, this.#decoding.stripsLeadingSpace);
  }

  #wholeText(id: number): string | undefined {
    const known = this.#wholeTexts[id];
    if (known !== undefined) return known ?? undefined;
    const bytes = this.tokenBytes(id);
    if (bytes === undefined) return undefined;
    const text = decodeWhole(bytes);
    this.#wholeTexts[id] = text ?? null;
    return text;
  }
}

/** The text of bytes that are whole characters, else undefined. */
function decodeWhole(bytes: Uint8Array): string | undefined {
  try {
    return strictUtf8.decode(bytes);
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}
