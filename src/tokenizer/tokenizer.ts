/** Text to token ids and back. */
export interface Tokenizer {
  readonly vocabSize: number;
  readonly bosTokenId: number | null;
  /** End-of-sequence ids of tokenizer and generation config, without repeats. */
  readonly eosTokenIds: readonly number[];
  /** `addSpecialTokens` (default true): what the tokenizer's post-processor adds, such as BOS. */
  encode(text: string, options?: EncodeOptions): number[];
  /** Default: special tokens are left out. */
  decode(ids: readonly number[], options?: { readonly skipSpecialTokens?: boolean }): string;
  /** The token's raw bytes; empty for special tokens when they are skipped. Undefined for unknown ids. */
  tokenBytes(id: number): Uint8Array | undefined;
  /** The vocabulary's own text of a token, such as "Ġthe". */
  tokenText(id: number): string;
  isSpecial(id: number): boolean;
  readonly chatTemplate: ChatTemplate | null;
  /** A decoder for one stream of tokens. */
  stream(options?: { readonly skipSpecialTokens?: boolean }): IncrementalDecoder;
}

export interface EncodeOptions {
  readonly addSpecialTokens?: boolean;
}

/** Decodes one token after the other; never yields a part of a character. */
export interface IncrementalDecoder {
  /** The text that is certain after this token; may be empty. */
  push(id: number): string;
  /** What is left at the end; an unfinished character becomes U+FFFD. */
  flush(): string;
}

export interface ChatMessage {
  readonly role: string;
  readonly content: string | null;
  readonly [key: string]: unknown;
}

export interface ChatTemplate {
  readonly source: string;
  /** Throws `chat_template_failed` with the template's own message. */
  render(messages: readonly ChatMessage[], options?: RenderOptions): string;
}

export interface RenderOptions {
  readonly addGenerationPrompt?: boolean;
  /** Tools that the model may call, as OpenAI's API describes them. */
  readonly tools?: readonly unknown[] | null;
  readonly variables?: Readonly<Record<string, unknown>>;
}
