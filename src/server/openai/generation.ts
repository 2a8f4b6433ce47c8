import { sinceEpoch } from "../../base/clock.ts";
import { MillraceError } from "../../base/errors.ts";
import type { RequestScheduling } from "../../protocol/engine-client.ts";
import type { TokenGrammar } from "../../protocol/token-mask-channel.ts";
import { samplingOfChoice } from "../../text/choices.ts";
import { scorePrompts } from "../../text/prompt-logprobs.ts";
import type { TextUsage } from "../../text/text-generator.ts";
import type { EventSink } from "../event-sink.ts";
import type { HttpContext } from "../http-context.ts";
import { checkQueueRoom } from "../queue-room.ts";
import { runSequences, type SequenceEvent, type SequenceRequest } from "../run-sequences.ts";
import type { ServedModel } from "../served-model.ts";
import type { ServerContext } from "../server-context.ts";
import {
  type AnswerHead,
  answerHead,
  type Delivery,
  deliver,
  deliveryOf,
  sumUsage,
  type UsageBody,
} from "./answer.ts";
import { demand } from "./field-errors.ts";
import { type PromptLogprobsBody, promptLogprobsBody } from "./logprobs.ts";
import { checkContext, type OutputLimit, type Prompt } from "./prompts.ts";
import { type BodySchema, readBody } from "./request-body.ts";
import { checkStreamOptions, planSequences, type SequencePlan } from "./sampling.ts";
import { readScheduling } from "./scheduling.ts";
import type { SamplingBody } from "./schemas.ts";
import { type Asked, readGrammar } from "./structured.ts";
import { type TraceBody, traceBody } from "./trace.ts";

/** Most sequences of one request, prompts times choices, however long the queue. */
const maxSequences = 4096;

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

/** A request that was checked: sequence `i` answers prompt `i / n`. */
export interface Request<B> {
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
  /** Adds a chunk to the whole answer. */
  add(chunk: C): void;
  /**
   * The whole answer's own fields.
   *
   * @param promptLogprobs one per prompt; null where none were asked for
   */
  whole(promptLogprobs: readonly PromptLogprobsBody[] | null): object;
}

/** What differs between the endpoints that generate text. */
export interface Dialect<B extends SamplingBody, C extends object, Q extends Question = Question> {
  readonly schema: BodySchema<B>;
  readonly idPrefix: string;
  /** `object` of the whole answer and of a chunk. */
  readonly objects: { readonly whole: string; readonly chunk: string };
  /** Errors: `invalid_request`, `context_length_exceeded`, those of chat templates. */
  ask(body: B, model: ServedModel): Q;
  /** @param question what `ask` found in the request */
  word(request: Request<B>, question: Q): Wording<C>;
}

/** The handler of one dialect's endpoint. */
export function generationHandler<B extends SamplingBody, C extends object, Q extends Question>(
  dialect: Dialect<B, C, Q>,
): (c: HttpContext, context: ServerContext) => Promise<Response> {
  return async (c, context) => {
    const arrivedAt = context.clock.now();
    const registry = context.registry();
    const body = await readBody(c, context, dialect.schema);
    const scheduling = readScheduling(body, c, sinceEpoch(arrivedAt));
    const model = registry.resolve(body.model);
    await checkQueueRoom(model);
    const question = dialect.ask(body, model);
    const plan = planRequest(question, body, model);
    const grammar = await readGrammar(body, model, question.forced ?? null);
    const request = { ...plan, scheduling, arrivedAt, grammar };
    context.metrics.observeN(request.model, request.plan.n);
    const { isStream } = request.delivery;
    const object = isStream ? dialect.objects.chunk : dialect.objects.whole;
    const head = answerHead(dialect.idPrefix, object, request.model);
    const generation = new Generation(request, dialect.word(request, question), head, context);
    return deliver(c, context, isStream, {
      whole: (signal) => generation.whole(signal),
      stream: (signal, sink) => generation.stream(signal, sink),
    });
  };
}

function planRequest<B extends SamplingBody>(
  { prompts, limit, logprobs, readsSpecialTokens }: Question,
  body: B,
  model: ServedModel,
): Omit<Request<B>, "scheduling" | "arrivedAt" | "grammar"> {
  checkStreamOptions(body);
  for (const prompt of prompts) checkContext(prompt, limit, model);
  const maxTokens = limit.maxTokens ?? model.client.info.maxModelLen - prompts[0]!.tokenIds.length;
  const planned = planSequences(body, model, maxTokens, logprobs);
  const plan = readsSpecialTokens === true ? { ...planned, skipSpecialTokens: false } : planned;
  checkQueueable(prompts, plan.n, model);
  return { body, model, prompts, plan, promptLogprobs: readPromptLogprobs(body), delivery: deliveryOf(body) };
}

/** Refuses what the queue could never take whole: to try again later would not help. */
function checkQueueable(prompts: readonly Prompt[], n: number, { client }: ServedModel): void {
  const { maxNumQueuedRequests, maxNumQueuedTokens } = client.info;
  const most = Math.min(maxSequences, maxNumQueuedRequests);
  const numAnswers = prompts.length * n;
  const asked = `The request asks for ${numAnswers} answers, ${n} to each of ${prompts.length} prompts`;
  const param = prompts.length > most ? "prompt" : "n";
  if (numAnswers > most) {
    const longer = ", or start with a longer queue (--max-num-queued-reqs, --max-num-queued-reqs-per-tenant)";
    const advice = `Split it${most < maxSequences ? longer : ""}.`;
    const message = `${asked}; this server takes at most ${most} together. ${advice}`;
    throw new MillraceError("invalid_request", message, { param });
  }
  let numTokens = 0;
  for (const { tokenIds } of prompts) numTokens += n * tokenIds.length;
  if (maxNumQueuedTokens === 0 || numAnswers === 1 || numTokens <= maxNumQueuedTokens) return;
  throw new MillraceError(
    "invalid_request",
    `${asked}, with ${numTokens} prompt tokens in all; the queue takes ${maxNumQueuedTokens}. Split it, or start with a ` +
      "larger --max-num-queued-tokens.",
    { param: n > 1 ? "n" : "prompt" },
  );
}

function readPromptLogprobs(body: SamplingBody): number | null {
  const count = body.prompt_logprobs ?? null;
  if (count === null) return null;
  demand(body.stream !== true, "prompt_logprobs", count, "left out of a stream, which has no place for them");
  return count;
}

/** One request on its way. */
class Generation<B, C extends object> {
  readonly #request: Request<B>;
  readonly #wording: Wording<C>;
  readonly #head: AnswerHead;
  readonly #context: ServerContext;
  readonly #usage: TextUsage[];
  readonly #traces: TraceBody[] = [];
  /** By prompt, where it was scored: what is generated then finds all of it in the cache. */
  readonly #cachedScores: number[] = [];

  constructor(request: Request<B>, wording: Wording<C>, head: AnswerHead, context: ServerContext) {
    this.#request = request;
    this.#wording = wording;
    this.#head = head;
    this.#context = context;
    const numSequences = request.prompts.length * request.plan.n;
    const none = { promptTokens: 0, completionTokens: 0, cachedTokens: 0 };
    this.#usage = Array.from({ length: numSequences }, () => none);
  }

  async whole(signal: AbortSignal): Promise<unknown> {
    const promptLogprobs = await this.#scorePrompts(signal);
    await this.#run(signal, (chunk) => this.#wording.add(chunk));
    const usage = this.#sumUsage();
    return { ...this.#head, ...this.#wording.whole(promptLogprobs), usage, ...this.#explanation() };
  }

  async #scorePrompts(signal: AbortSignal): Promise<readonly PromptLogprobsBody[] | null> {
    const { promptLogprobs, prompts, model, scheduling } = this.#request;
    if (promptLogprobs === null) return null;
    const tokenIds = prompts.map((prompt) => prompt.tokenIds);
    const onCached = (prompt: number, numTokens: number): void => this.#noteCached(prompt, numTokens);
    const terms = { scheduling, signal, onCached };
    const scores = await scorePrompts(model.promptScorer, tokenIds, promptLogprobs, terms);
    return scores.map((tokens) => promptLogprobsBody(model.tokenizer, tokens));
  }

  async stream(signal: AbortSignal, sink: EventSink): Promise<void> {
    const { includeUsage, continuousUsage } = this.#request.delivery;
    await this.#run(signal, (chunk) => {
      const usage = continuousUsage ? { usage: this.#sumUsage() } : includeUsage ? { usage: null } : {};
      sink.send(JSON.stringify({ ...this.#head, ...chunk, ...usage }));
      return sink.pressure();
    });
    const last = { ...(includeUsage ? { usage: this.#sumUsage() } : {}), ...this.#explanation() };
    if (Object.keys(last).length > 0) sink.send(JSON.stringify({ ...this.#head, choices: [], ...last }));
  }

  async #run(signal: AbortSignal, onChunk: (chunk: C) => void | Promise<void>): Promise<void> {
    const { model, plan } = this.#request;
    const wording = this.#wording;
    if (wording.prelude !== undefined) {
      const onCached = (prompt: number, numTokens: number): void => this.#noteCached(prompt, numTokens);
      for await (const chunk of wording.prelude(signal, onCached)) await onChunk(chunk);
    }
    if (plan.sampling.maxTokens === 0) return;
    await runSequences({
      model,
      metrics: this.#context.metrics,
      requestId: this.#head.id,
      arrivedAt: this.#request.arrivedAt,
      sequences: this.#sequences(),
      signal,
      onEvent: async (event) => {
        this.#usage[event.index] = event.usage;
        for (const chunk of wording.chunks(event)) await onChunk(chunk);
      },
      onTrace: (index, trace) => this.#traces.push(traceBody(index, trace)),
    });
  }

  #sequences(): SequenceRequest[] {
    const { prompts, plan, scheduling, grammar, delivery } = this.#request;
    return this.#usage.map((_, index) => ({
      promptTokenIds: prompts[Math.floor(index / plan.n)]!.tokenIds,
      sampling: samplingOfChoice(plan.sampling, index % plan.n),
      stop: plan.stop,
      includeStopInOutput: plan.includeStopInOutput,
      skipSpecialTokens: plan.skipSpecialTokens,
      scheduling,
      grammar,
      explain: delivery.explains,
    }));
  }

  #noteCached(prompt: number, numTokens: number): void {
    this.#cachedScores[prompt] = Math.min(numTokens, this.#cachedScores[prompt] ?? numTokens);
  }

  #withScores(index: number, usage: TextUsage): TextUsage {
    const cachedTokens = this.#cachedScores[Math.floor(index / this.#request.plan.n)];
    return cachedTokens === undefined ? usage : { ...usage, cachedTokens };
  }

  #explanation(): { readonly explain?: readonly TraceBody[] } {
    if (!this.#request.delivery.explains) return {};
    return { explain: this.#traces.sort((a, b) => a.index - b.index) };
  }

  #sumUsage(): UsageBody {
    const { prompts, plan } = this.#request;
    return sumUsage(
      prompts.map((prompt) => prompt.tokenIds.length),
      this.#usage.map((usage, index) => this.#withScores(index, usage)),
      plan.n,
    );
  }
}
