import { randomUUID } from "node:crypto";
import { sinceEpoch } from "../../base/clock.ts";
import { MillraceError } from "../../base/errors.ts";
import type { RequestTrace } from "../../protocol/engine-client.ts";
import { samplingOfChoice } from "../../text/choices.ts";
import { type PromptLogprobs, scorePrompts } from "../../text/prompt-logprobs.ts";
import type { TextUsage } from "../../text/text-generator.ts";
import type { HttpContext } from "../http-context.ts";
import { demand } from "../request/field-errors.ts";
import { noteIgnored } from "../request/field-support.ts";
import { checkContext, type Prompt } from "../request/prompts.ts";
import { readBody } from "../request/request-body.ts";
import { checkStreamOptions, planSequences } from "../request/sampling.ts";
import { readScheduling } from "../request/scheduling.ts";
import type { SamplingBody } from "../request/schemas.ts";
import { readGrammar } from "../request/structured.ts";
import type { ServedModel } from "../served-model.ts";
import type { ServerContext } from "../server-context.ts";
import { deliver } from "./deliver.ts";
import type { Delivery, Dialect, Question, Request, Totals, Wording } from "./dialect.ts";
import type { EventSink } from "./event-sink.ts";
import { checkQueueRoom } from "./queue-room.ts";
import { runSequences, type SequenceRequest } from "./run-sequences.ts";
import { withWireName } from "./wire-names.ts";

/** Most sequences of one request, prompts times choices, however long the queue. */
const maxSequences = 4096;

/** The handler of one dialect's endpoint. */
export function generationHandler<W, B extends SamplingBody, C extends object, Q extends Question>(
  dialect: Dialect<W, B, C, Q>,
): (c: HttpContext, context: ServerContext) => Promise<Response> {
  return async (c, context) => {
    const arrivedAt = context.clock.now();
    try {
      return await handle(c, context, dialect, arrivedAt);
    } catch (error) {
      throw withWireName(error, dialect.names ?? {});
    }
  };
}

async function handle<W, B extends SamplingBody, C extends object, Q extends Question>(
  c: HttpContext,
  context: ServerContext,
  dialect: Dialect<W, B, C, Q>,
  arrivedAt: number,
): Promise<Response> {
  const registry = context.registry();
  const wire = await readBody(c, context, dialect.schema, dialect.fields);
  const body = dialect.translate(wire, (name) => noteIgnored(c, { name }));
  const scheduling = readScheduling(body, c, sinceEpoch(arrivedAt));
  const model = registry.resolve(body.model);
  await checkQueueRoom(model);
  const question = dialect.ask(body, model);
  const plan = planRequest(question, body, model);
  const id = dialect.idPrefix + randomUUID().replaceAll("-", "");
  logSampling(context, id, plan);
  if (context.logsPrompts > 0) logPrompts(context, id, plan);
  reserveTokens(c, plan);
  const grammar = await readGrammar(body, model, question.forced ?? null);
  const request = { ...plan, id, scheduling, arrivedAt, grammar };
  context.metrics.observeN(request.model, request.plan.n);
  const wording = dialect.word(request, question, wire);
  const generation = new Generation(request, wording, context);
  return deliver(c, context, request.delivery.isStream, {
    whole: (signal) => generation.whole(signal),
    stream: (signal, sink) => generation.stream(signal, sink),
    failure: (error) => wording.failure(error),
    numTokens: () => generation.numTokens,
  });
}

/** What the request asks for with what the model's own defaults add to it. */
function logSampling({ logger }: ServerContext, id: string, { plan }: PlannedRequest<unknown>): void {
  const { temperature, topP, topK, minP, repetitionPenalty, maxTokens } = plan.sampling;
  logger.debug("Sampling.", { id, temperature, topP, topK, minP, repetitionPenalty, maxTokens, n: plan.n });
}

/** Only where the operator asked for it. */
function logPrompts(
  context: ServerContext,
  id: string,
  { model, prompts, plan }: PlannedRequest<unknown>,
): void {
  for (const { tokenIds } of prompts) {
    const prompt = model.tokenizer.decode(tokenIds, { skipSpecialTokens: false });
    context.logger.info("Prompt.", {
      id,
      prompt: prompt.slice(0, context.logsPrompts),
      numTokens: tokenIds.length,
      maxTokens: plan.sampling.maxTokens,
      temperature: plan.sampling.temperature,
    });
  }
}

type PlannedRequest<B> = Omit<Request<B>, "id" | "scheduling" | "arrivedAt" | "grammar">;

function planRequest<B extends SamplingBody>(
  { prompts, limit, logprobs, readsSpecialTokens }: Question,
  body: B,
  model: ServedModel,
): PlannedRequest<B> {
  checkStreamOptions(body);
  for (const prompt of prompts) checkContext(prompt, limit, model);
  const maxTokens = limit.maxTokens ?? model.client.info.maxModelLen - prompts[0]!.tokenIds.length;
  const planned = planSequences(body, model, maxTokens, logprobs);
  const plan = readsSpecialTokens === true ? { ...planned, skipSpecialTokens: false } : planned;
  checkQueueable(prompts, plan.n, model);
  return { body, model, prompts, plan, promptLogprobs: readPromptLogprobs(body), delivery: deliveryOf(body) };
}

/** Sets aside what the request may come to at most. Errors: `rate_limited`. */
function reserveTokens(c: HttpContext, { prompts, plan }: PlannedRequest<unknown>): void {
  const ticket = c.get("ticket");
  if (ticket === undefined) return;
  let numTokens = 0;
  for (const { tokenIds } of prompts) numTokens += tokenIds.length + plan.n * plan.sampling.maxTokens;
  ticket.reserve(numTokens);
  Object.assign(c.get("headers"), ticket.headers());
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

function deliveryOf(body: SamplingBody): Delivery {
  return {
    isStream: body.stream ?? false,
    includeUsage: body.stream_options?.include_usage ?? false,
    continuousUsage: body.stream_options?.continuous_usage_stats ?? false,
    returnTokenIds: body.return_token_ids ?? false,
    explains: body.explain ?? false,
  };
}

/** One request on its way. */
class Generation<C extends object> {
  readonly #request: Request<SamplingBody>;
  readonly #wording: Wording<C>;
  readonly #context: ServerContext;
  readonly #usage: TextUsage[];
  readonly #traces: { index: number; trace: RequestTrace }[] = [];
  /** By prompt, where it was scored: what is generated then finds all of it in the cache. */
  readonly #cachedScores: number[] = [];

  constructor(request: Request<SamplingBody>, wording: Wording<C>, context: ServerContext) {
    this.#request = request;
    this.#wording = wording;
    this.#context = context;
    const numSequences = request.prompts.length * request.plan.n;
    const none = { promptTokens: 0, completionTokens: 0, cachedTokens: 0 };
    this.#usage = Array.from({ length: numSequences }, () => none);
  }

  get numTokens(): number {
    const { promptTokens, completionTokens } = this.#sumUsage();
    return promptTokens + completionTokens;
  }

  async whole(signal: AbortSignal): Promise<object> {
    const promptLogprobs = await this.#scorePrompts(signal);
    await this.#run(signal, (chunk) => this.#wording.add?.(chunk));
    return this.#wording.whole(this.#totals(promptLogprobs));
  }

  async #scorePrompts(signal: AbortSignal): Promise<readonly PromptLogprobs[] | null> {
    const { promptLogprobs, prompts, model, scheduling } = this.#request;
    if (promptLogprobs === null) return null;
    const tokenIds = prompts.map((prompt) => prompt.tokenIds);
    const onCached = (prompt: number, numTokens: number): void => this.#noteCached(prompt, numTokens);
    return scorePrompts(model.promptScorer, tokenIds, promptLogprobs, { scheduling, signal, onCached });
  }

  async stream(signal: AbortSignal, sink: EventSink): Promise<void> {
    const totals = (): Totals => this.#totals(null);
    await this.#run(signal, (chunk) => {
      sink.send(this.#wording.event(chunk, totals));
      return sink.pressure();
    });
    for (const event of this.#wording.closing(totals())) sink.send(event);
  }

  async #run(signal: AbortSignal, onChunk: (chunk: C) => void | Promise<void>): Promise<void> {
    const { id, model, plan, arrivedAt } = this.#request;
    const wording = this.#wording;
    if (wording.prelude !== undefined) {
      const onCached = (prompt: number, numTokens: number): void => this.#noteCached(prompt, numTokens);
      for await (const chunk of wording.prelude(signal, onCached)) await onChunk(chunk);
    }
    if (plan.sampling.maxTokens === 0) return this.#countScored();
    await runSequences({
      model,
      metrics: this.#context.metrics,
      requestId: id,
      arrivedAt,
      sequences: this.#sequences(),
      signal,
      onEvent: async (event) => {
        this.#usage[event.index] = event.usage;
        for (const chunk of wording.chunks(event)) await onChunk(chunk);
      },
      onTrace: (index, trace) => this.#traces.push({ index, trace }),
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
      scoredFromCache: index % plan.n === 0 ? (this.#cachedScores[index / plan.n] ?? null) : null,
      explain: delivery.explains,
    }));
  }

  /** Prompts that are only scored are no sequences, but were processed. */
  #countScored(): void {
    const { model, prompts } = this.#request;
    for (const [at, cached] of this.#cachedScores.entries()) {
      this.#context.metrics.countPrompt(model, prompts[at]!.tokenIds.length, cached);
    }
  }

  #noteCached(prompt: number, numTokens: number): void {
    this.#cachedScores[prompt] = Math.min(numTokens, this.#cachedScores[prompt] ?? numTokens);
  }

  #totals(promptLogprobs: readonly PromptLogprobs[] | null): Totals {
    const traces = this.#traces.toSorted((a, b) => a.index - b.index);
    return { usage: this.#sumUsage(), promptLogprobs, traces };
  }

  #sumUsage(): TextUsage {
    const { prompts, plan } = this.#request;
    let promptTokens = 0;
    let completionTokens = 0;
    let cachedTokens = 0;
    for (const [at, { tokenIds }] of prompts.entries()) {
      promptTokens += tokenIds.length;
      cachedTokens += this.#cachedScores[at] ?? this.#usage[at * plan.n]!.cachedTokens;
    }
    for (const usage of this.#usage) completionTokens += usage.completionTokens;
    return { promptTokens, completionTokens, cachedTokens };
  }
}
