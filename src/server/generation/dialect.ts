import type { RequestScheduling, RequestTrace } from "../../protocol/engine-client.ts";
import type { TokenGrammar } from "../../protocol/token-mask-channel.ts";
import type { PromptLogprobs } from "../../text/prompt-logprobs.ts";
import type { TextUsage } from "../../text/text-generator.ts";
import type { FieldSupport } from "../request/field-support.ts";
import type { OutputLimit, Prompt } from "../request/prompts.ts";
import type { BodySchema } from "../request/request-body.ts";
import type { SequencePlan } from "../request/sampling.ts";
import type { SamplingBody } from "../request/schemas.ts";
import type { Asked } from "../request/structured.ts";
import type { ServedModel } from "../served-model.ts";
import type { StreamEvent } from "./event-sink.ts";
import type { SequenceEvent } from "./run-sequences.ts";
import type { WireNames } from "./wire-names.ts";

/** What a dialect's own fields ask for. */
export interface Question {
  readonly prompts: readonly Prompt[];
  readonly limit: OutputLimit;
  /** Top log-probabilities per token; null for none. */
  readonly logprobs: number | null;
  /** What the answers have to follow for other reasons than the common fields. */
  readonly forced?: Asked | null;
  /** Whether special tokens are text of the answer that the dialect reads. */
  readonly readsSpecialTokens?: boolean;
}

/** How a request wants its answer. */
export interface Delivery {
  readonly isStream: boolean;
  readonly includeUsage: boolean;
  readonly continuousUsage: boolean;
  readonly returnTokenIds: boolean;
  /** Whether the answer tells the life of its sequences. */
  readonly explains: boolean;
}

/** A request that was checked: sequence `i` answers prompt `i / n`. */
export interface Request<B> {
  /** Of the answer, and of the request in the engine. */
  readonly id: string;
  readonly body: B;
  readonly model: ServedModel;
  readonly prompts: readonly Prompt[];
  readonly plan: SequencePlan;
  /** Top log-probabilities per token of the prompts; null for none. */
  readonly promptLogprobs: number | null;
  readonly delivery: Delivery;
  readonly scheduling: RequestScheduling;
  readonly grammar: TokenGrammar | undefined;
  /** When it came, by the server's clock. */
  readonly arrivedAt: number;
}

/** What a request has come to so far. */
export interface Totals {
  /** Of all sequences; choices of one prompt share it, so it counts once. */
  readonly usage: TextUsage;
  /** One per prompt; null where none were asked for. */
  readonly promptLogprobs: readonly PromptLogprobs[] | null;
  /** Of the sequences that have ended, where the request asked for them. */
  readonly traces: readonly { readonly index: number; readonly trace: RequestTrace }[];
}

/** One answer in its dialect's words. The whole answer is the sum of its chunks, so both forms say the same. */
export interface Wording<C extends object> {
  /**
   * Chunks before the first token, such as an echoed prompt.
   *
   * @param onCached hears of a prompt that was scored for them how many of its tokens were not computed
   */
  prelude?(signal: AbortSignal, onCached: (prompt: number, numTokens: number) => void): AsyncIterable<C>;
  /** The chunks of one event; none where it has nothing to say. */
  chunks(event: SequenceEvent): readonly C[];
  /** Adds a chunk to the whole answer; left out where the wording keeps what it has said. */
  add?(chunk: C): void;
  /** The whole answer, after its last chunk. */
  whole(totals: Totals): object;
  /** A chunk as a stream sends it. */
  event(chunk: C, totals: () => Totals): StreamEvent;
  /** What a stream sends after its last chunk. */
  closing(totals: Totals): readonly StreamEvent[];
  /** What a stream sends, and ends with, where an error comes after its first event. */
  failure(error: unknown): readonly StreamEvent[];
}

/**
 * What differs between the endpoints that generate text. Inside, a request is a body in the words of OpenAI and vLLM,
 * whatever it was on the wire.
 */
export interface Dialect<
  W,
  B extends SamplingBody = SamplingBody,
  C extends object = object,
  Q extends Question = Question,
> {
  readonly schema: BodySchema<W>;
  /** What becomes of fields that the schema does not know. */
  readonly fields: FieldSupport;
  /** How fields of the request inside are called on the wire, for errors; left out where they are the same. */
  readonly names?: WireNames;
  /** What its ids begin with, such as `chatcmpl-`. */
  readonly idPrefix: string;
  /**
   * Errors: `invalid_request` naming the field on the wire.
   *
   * @param ignore is told of each field that has no effect here
   */
  translate(wire: W, ignore: (field: string) => void): B;
  /** Errors: `invalid_request`, `context_length_exceeded`, those of chat templates. */
  ask(body: B, model: ServedModel): Q;
  /** @param question what `ask` found in the request */
  word(request: Request<B>, question: Q, wire: W): Wording<C>;
}
