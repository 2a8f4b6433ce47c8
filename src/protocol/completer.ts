/** What is written, and how. */
export interface CompletionSettings {
  /** Texts that end the answer before them. */
  readonly stop: readonly string[];
  /** Token ids that end the answer, besides the model's own end tokens. */
  readonly stopTokenIds: readonly number[];
  readonly maxTokens: number;
  /** 0 = greedy. */
  readonly temperature: number;
  readonly topP: number;
  /** Of the draws, where there are any. */
  readonly seed: number;
}

/** What an answer says of its prompt; absent where that is not known. */
export interface PromptUsage {
  readonly numPromptTokens?: number;
  /** Those of them whose KV came from a cache. */
  readonly numCachedTokens?: number;
}

export interface Completion extends PromptUsage {
  readonly text: string;
  /** `length`: it ran into `maxTokens`. */
  readonly finishReason: "stop" | "length";
}

/** Continues token ids with text. What `evaluate/` knows of an engine or server that writes. */
export interface Completer {
  complete(
    tokenIds: readonly number[],
    settings: CompletionSettings,
    signal: AbortSignal | undefined,
  ): Promise<Completion>;
}

/** Answers chat messages. */
export interface ChatCompleter {
  complete(
    messages: readonly { readonly role: string; readonly content: string | null }[],
    settings: CompletionSettings,
    signal: AbortSignal | undefined,
  ): Promise<Completion>;
}

export interface TokenLogprob {
  /** As text, white space included. */
  readonly token: string;
  readonly logprob: number;
}

export interface FirstTokens extends PromptUsage {
  /** The likeliest, at least one. */
  readonly tokens: readonly TokenLogprob[];
}

/** Tells what an answer to chat messages would begin with. */
export interface FirstTokenReader {
  firstTokens(
    messages: readonly { readonly role: string; readonly content: string }[],
    signal: AbortSignal | undefined,
  ): Promise<FirstTokens>;
}
