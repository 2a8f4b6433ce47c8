import type { ChatMessage } from "../../tokenizer/tokenizer.ts";

/** Log-likelihood of a continuation, and whether greedy decoding would give it. */
export interface Likelihood {
  readonly logLikelihood: number;
  readonly isGreedy: boolean;
}

/** A prompt as one text, or as chat messages of which the last is the user's or an answer to go on with. */
export type Prompt = string | readonly ChatMessage[];

/** How an answer is generated. */
export interface GenerationLimits {
  /** Texts that end the answer; they are not part of it. */
  readonly until: readonly string[];
  readonly maxNewTokens: number;
  /** 0 = greedy. */
  readonly temperature: number;
  readonly topP: number;
  /** Of the draws; repeats of a question differ in it. */
  readonly seed: number;
}

/** What one document asks of a model; a multiple-choice document asks once for each choice. */
export type ModelRequest =
  | { readonly kind: "loglikelihood"; readonly context: string; readonly continuation: string }
  | { readonly kind: "rolling"; readonly text: string }
  | { readonly kind: "generation"; readonly prompt: Prompt; readonly limits: GenerationLimits };

/** A written answer, cut at the text that ended it. */
export interface Answer {
  readonly text: string;
  /** The answer ran into `maxNewTokens`. */
  readonly isCut: boolean;
}

export type ModelResponse = Likelihood | Answer;

/** A request that was checked and encoded and only has to be sent. */
export interface PreparedRequest {
  /** Tokens, or where those are not known a figure that grows with them. */
  readonly size: number;
  /** Tokens at the beginning of its context that had no room in the model's; absent where that is not known. */
  readonly numLost?: number;
  send(signal: AbortSignal | undefined): Promise<ModelResponse>;
}

/** Tokens of the prompts that a model was sent. */
export interface PromptTokens {
  readonly numSent: number;
  /** Those of them that it did not compute, because it had them from before; null where it does not say. */
  readonly numCached: number | null;
}

/** What a run of tasks knows of a model. A rolling request is answered by a `Likelihood`. */
export interface LanguageModel {
  /** Renders chat messages to text; null where the model has no template or takes messages only. */
  readonly renderChat: ((messages: readonly ChatMessage[], continuesLast: boolean) => string) | null;
  /** Most tokens that the model reads at once. */
  readonly maxLength: number;
  /** So far; absent where the model counts no tokens. */
  readonly promptTokens?: PromptTokens | undefined;
  /**
   * Throws what makes a request impossible before any is sent: `context_length_exceeded`, `invalid_data_file`,
   * `evaluation_unsupported` where this model cannot answer the kind.
   */
  prepare(request: ModelRequest): PreparedRequest;
}
