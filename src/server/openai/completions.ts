import type { ScoreResult } from "../../protocol/engine-client.ts";
import { maxLogprobs } from "../../protocol/sampling-params.ts";
import type { TextUsage } from "../../text/text-generator.ts";
import type { EventSink } from "../event-sink.ts";
import { type HttpContext, readJsonObject } from "../http-context.ts";
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
import { checkFields, warningsHeader } from "./field-support.ts";
import { type CompletionLogprobs, CompletionLogprobsBuilder, emptyCompletionLogprobs } from "./logprobs.ts";
import { checkContext, type Prompt, readPrompts } from "./prompts.ts";
import {
  checkStreamOptions,
  demand,
  planSequences,
  type SequencePlan,
  samplingOfChoice,
} from "./sampling.ts";
import { type CompletionBody, completionSchema, parseBody } from "./schemas.ts";

const knownFields: ReadonlySet<string> = new Set(Object.keys(completionSchema.shape));
const defaultMaxTokens = 16;
/** Most sequences of one request: prompts times choices. */
const maxSequences = 4096;

/** `POST /v1/completions`. */
export async function handleCompletions(c: HttpContext, context: ServerContext): Promise<Response> {
  const registry = context.registry();
  const raw = await readJsonObject(c, context.maxBodyBytes);
  const warnings = warningsHeader(checkFields(raw, knownFields, context));
  if (warnings !== undefined) c.get("headers")["x-millrace-warnings"] = warnings;
  const body = parseBody(completionSchema, raw);
  const model = registry.resolve(body.model);
  const completion = planCompletion(body, model, context);
  context.metrics.observeN(model, completion.plan.n);
  return deliver(c, context, completion.delivery.isStream, {
    whole: (signal) => completion.whole(signal),
    stream: (signal, sink) => completion.stream(signal, sink),
  });
}

function planCompletion(body: CompletionBody, model: ServedModel, context: ServerContext): Completion {
  checkStreamOptions(body);
  const echo = body.echo ?? false;
  const maxTokens = body.max_tokens ?? defaultMaxTokens;
  const logprobs = body.logprobs ?? null;
  demand(maxTokens >= (echo ? 0 : 1), "max_tokens", maxTokens, "at least 1, or 0 together with echo");
  demand(
    logprobs === null || (logprobs >= 0 && logprobs <= maxLogprobs),
    "logprobs",
    logprobs,
    `from 0 to ${maxLogprobs}`,
  );
  const plan = planSequences(body, model, maxTokens, logprobs);
  const prompts = readPrompts(body, model);
  const count = prompts.length * plan.n;
  demand(
    count <= maxSequences,
    "n",
    plan.n,
    `such that prompts times n is at most ${maxSequences} (here ${count})`,
  );
  for (const prompt of prompts) checkContext(prompt.tokenIds.length, maxTokens, model);
  return new Completion(model, context, prompts, plan, {
    ...deliveryOf(body),
    echo,
    returnTokenIds: body.return_token_ids ?? false,
  });
}

interface CompletionDelivery extends Delivery {
  readonly echo: boolean;
  readonly returnTokenIds: boolean;
}

interface Choice {
  readonly index: number;
  text: string;
  logprobs: CompletionLogprobs | null;
  finish_reason: string | null;
  stop_reason: string | number | null;
  token_ids?: number[];
  prompt_token_ids?: readonly number[];
}

/** One completion request on its way: choice `i` answers prompt `i / n`. */
class Completion {
  readonly plan: SequencePlan;
  readonly delivery: CompletionDelivery;
  readonly #model: ServedModel;
  readonly #context: ServerContext;
  readonly #prompts: readonly Prompt[];
  readonly #head: AnswerHead;
  readonly #usage: TextUsage[];
  readonly #logprobs: CompletionLogprobsBuilder[];

  constructor(
    model: ServedModel,
    context: ServerContext,
    prompts: readonly Prompt[],
    plan: SequencePlan,
    delivery: CompletionDelivery,
  ) {
    this.#model = model;
    this.#context = context;
    this.#prompts = prompts;
    this.plan = plan;
    this.delivery = delivery;
    this.#head = answerHead("cmpl", "text_completion", model);
    const choices = Array.from({ length: prompts.length * plan.n });
    this.#usage = choices.map(() => ({ promptTokens: 0, completionTokens: 0, cachedTokens: 0 }));
    this.#logprobs = choices.map(() => new CompletionLogprobsBuilder(model.tokenizer));
  }

  async whole(signal: AbortSignal): Promise<unknown> {
    const choices: Choice[] = [];
    await this.#run(signal, (piece) => {
      const choice = choices[piece.index];
      if (choice === undefined) choices[piece.index] = piece;
      else append(choice, piece);
    });
    return { ...this.#head, choices, usage: this.#sumUsage() };
  }

  async stream(signal: AbortSignal, sink: EventSink): Promise<void> {
    const { includeUsage, continuousUsage, returnTokenIds } = this.delivery;
    await this.#run(signal, (piece) => {
      const says = piece.text !== "" || piece.finish_reason !== null || piece.logprobs !== null;
      if (!says && !returnTokenIds && !continuousUsage) return undefined;
      const usage = continuousUsage ? { usage: this.#sumUsage() } : includeUsage ? { usage: null } : {};
      sink.send(JSON.stringify({ ...this.#head, choices: [piece], ...usage }));
      return sink.pressure();
    });
    if (includeUsage) sink.send(JSON.stringify({ ...this.#head, choices: [], usage: this.#sumUsage() }));
  }

  #sumUsage(): UsageBody {
    return sumUsage(
      this.#prompts.map((prompt) => prompt.tokenIds.length),
      this.#usage,
      this.plan.n,
    );
  }

  async #run(signal: AbortSignal, onPiece: (piece: Choice) => void | Promise<void>): Promise<void> {
    const { model, metrics } = { model: this.#model, metrics: this.#context.metrics };
    if (this.delivery.echo) await this.#echoPrompts(signal, onPiece);
    if (this.plan.sampling.maxTokens === 0) return;
    const isFirst = this.#usage.map(() => true);
    await runSequences({
      model,
      metrics,
      requestId: this.#head.id,
      sequences: this.#sequences(),
      signal,
      onEvent: (event) => {
        const piece = this.#piece(event);
        if (isFirst[event.index] === true && this.delivery.returnTokenIds && !this.delivery.echo) {
          piece.prompt_token_ids = this.#promptOf(event.index).tokenIds;
        }
        isFirst[event.index] = false;
        return onPiece(piece);
      },
    });
  }

  #sequences(): SequenceRequest[] {
    return this.#usage.map((_, index) => ({
      promptTokenIds: this.#promptOf(index).tokenIds,
      sampling: samplingOfChoice(this.plan.sampling, index % this.plan.n),
      stop: this.plan.stop,
      includeStopInOutput: this.plan.includeStopInOutput,
      skipSpecialTokens: this.plan.skipSpecialTokens,
    }));
  }

  #promptOf(index: number): Prompt {
    return this.#prompts[Math.floor(index / this.plan.n)]!;
  }

  /** The first piece of every choice: its prompt, scored once where log-probabilities are wanted. */
  async #echoPrompts(signal: AbortSignal, onPiece: (piece: Choice) => void | Promise<void>): Promise<void> {
    const { sampling, n } = this.plan;
    for (const [at, prompt] of this.#prompts.entries()) {
      if (signal.aborted) return;
      const scores = sampling.logprobs === null ? null : await this.#score(prompt, sampling.logprobs);
      for (let index = at * n; index < (at + 1) * n; index += 1) {
        await onPiece({
          index,
          text: prompt.text ?? this.#model.tokenizer.decode(prompt.tokenIds, { skipSpecialTokens: false }),
          logprobs:
            sampling.logprobs === null
              ? null
              : this.#promptLogprobs(index, prompt, scores, sampling.logprobs),
          finish_reason: sampling.maxTokens === 0 ? "length" : null,
          stop_reason: null,
          ...(this.delivery.returnTokenIds ? { prompt_token_ids: prompt.tokenIds, token_ids: [] } : {}),
        });
      }
    }
  }

  #score(prompt: Prompt, topK: number): Promise<ScoreResult | null> {
    if (prompt.tokenIds.length < 2) return Promise.resolve(null);
    return this.#model.client.score({ tokenIds: prompt.tokenIds, start: 1, topK });
  }

  #promptLogprobs(
    index: number,
    prompt: Prompt,
    scores: ScoreResult | null,
    topK: number,
  ): CompletionLogprobs {
    const builder = this.#logprobs[index]!;
    const logprobs = emptyCompletionLogprobs();
    for (const [position, id] of prompt.tokenIds.entries()) {
      if (position === 0 || scores === null) {
        builder.addUnscored(logprobs, id);
        continue;
      }
      const row = position - 1;
      builder.add(logprobs, {
        id,
        logprob: scores.logprobs[row]!,
        topIds: scores.topIds.subarray(row * topK, (row + 1) * topK),
        topLogprobs: scores.topLogprobs.subarray(row * topK, (row + 1) * topK),
      });
    }
    return logprobs;
  }

  #piece({ index, delta, usage }: SequenceEvent): Choice {
    this.#usage[index] = usage;
    let logprobs: CompletionLogprobs | null = null;
    if (delta.logprobs !== null) {
      logprobs = emptyCompletionLogprobs();
      for (const [at, row] of delta.logprobs.entries()) {
        this.#logprobs[index]!.add(logprobs, { id: delta.tokenIds[at]!, ...row });
      }
    }
    return {
      index,
      text: delta.text,
      logprobs,
      finish_reason: delta.finishReason,
      stop_reason: delta.stopReason,
      ...(this.delivery.returnTokenIds ? { token_ids: [...delta.tokenIds] } : {}),
    };
  }
}

function append(choice: Choice, piece: Choice): void {
  choice.text += piece.text;
  choice.finish_reason = piece.finish_reason;
  choice.stop_reason = piece.stop_reason;
  if (piece.token_ids !== undefined) choice.token_ids?.push(...piece.token_ids);
  if (piece.logprobs === null) return;
  choice.logprobs ??= emptyCompletionLogprobs();
  choice.logprobs.tokens.push(...piece.logprobs.tokens);
  choice.logprobs.text_offset.push(...piece.logprobs.text_offset);
  choice.logprobs.token_logprobs.push(...piece.logprobs.token_logprobs);
  choice.logprobs.top_logprobs.push(...piece.logprobs.top_logprobs);
}
