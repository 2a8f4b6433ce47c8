import { randomUUID } from "node:crypto";
import { MillraceError } from "../../base/errors.ts";
import type { FinishReason, TokenLogprobs } from "../../protocol/engine-client.ts";
import type { Answer, Exchange, ServerContext } from "../context.ts";
import { type ChoiceEvent, type ChoicePlan, Generation } from "../generation.ts";
import type { ServedModel } from "../served-model.ts";
import { answerStream, answerWhole, type Dialect, headersFor } from "./answer.ts";
import { echoOf, type PromptEcho } from "./echo.ts";
import { type CompletionLogprobs, CompletionLogprobsBuilder } from "./logprobs.ts";
import { readBody } from "./read-body.ts";
import { roomAfter, samplingOf, stopStringsOf } from "./sampling.ts";
import { type CompletionBody, completionSchema } from "./schemas.ts";
import { usageObject } from "./usage.ts";

/** OpenAI's default of the completions endpoint. */
const defaultMaxTokens = 16;

/** POST /v1/completions. */
export async function completions(context: ServerContext, exchange: Exchange): Promise<Answer> {
  const { body, unknownFields } = readBody(exchange.text, completionSchema, context.isStrict);
  const model = context.models.find(body.model ?? undefined);
  const prompts = promptsOf(body, model);
  const headers = headersFor(unknownFields);
  const maxTokens = body.max_tokens ?? defaultMaxTokens;
  if (maxTokens === 0 && body.echo !== true) {
    throw new MillraceError("invalid_request", "max_tokens is 0; without echo there is nothing to answer. Raise it.", {
      param: "max_tokens",
    });
  }
  const echoes = await Promise.all(prompts.map((prompt) => echoOf(model, prompt, body)));
  const numChoices = body.n ?? 1;
  const plans = maxTokens === 0 ? [] : prompts.flatMap((prompt) => plansOf(body, model, prompt, maxTokens));
  const generation = new Generation(model, plans, context.metrics);
  const dialect = new CompletionDialect({ context, model, body, prompts, echoes, generation, numChoices });
  if (body.stream === true) return answerStream(generation, dialect, exchange, { headers, context });
  return answerWhole(generation, dialect, exchange, headers);
}

function promptsOf(body: CompletionBody, model: ServedModel): number[][] {
  const { prompt } = body;
  const given: (string | number[])[] =
    typeof prompt === "string"
      ? [prompt]
      : typeof prompt[0] === "number"
        ? [prompt as number[]]
        : (prompt as (string | number[])[]);
  return given.map((entry) => {
    if (typeof entry !== "string") return checkIds(entry, model);
    const ids = model.tokenizer.encode(entry, { addSpecialTokens: body.add_special_tokens ?? true });
    if (ids.length > 0) return ids;
    // An empty prompt starts from the model's own start token, as lm-eval and vLLM do.
    const start = model.tokenizer.bosTokenId ?? model.tokenizer.eosTokenIds[0];
    if (start !== undefined) return [start];
    throw new MillraceError("invalid_request", "The prompt is empty and the model has no start token. Send text.", {
      param: "prompt",
    });
  });
}

function checkIds(ids: number[], model: ServedModel): number[] {
  const { vocabSize } = model.client.info;
  const bad = ids.find((id) => id >= vocabSize);
  if (bad === undefined) return ids;
  throw new MillraceError(
    "invalid_request",
    `The prompt has token id ${bad}; this model's ids go from 0 to ${vocabSize - 1}.`,
    { param: "prompt" },
  );
}

function plansOf(body: CompletionBody, model: ServedModel, prompt: number[], maxTokens: number): ChoicePlan[] {
  roomAfter(model, prompt.length);
  const sampling = samplingOf(body, model, { maxTokens, logprobs: body.logprobs ?? null });
  return Array.from({ length: body.n ?? 1 }, (_, index) => ({
    promptTokenIds: prompt,
    // Further choices of one seed draw from seeds that follow it, as vLLM does.
    sampling: sampling.seed === null ? sampling : { ...sampling, seed: BigInt.asUintN(64, sampling.seed + BigInt(index)) },
    stop: stopStringsOf(body.stop),
    includeStopInOutput: body.include_stop_str_in_output ?? false,
    skipSpecialTokens: body.skip_special_tokens ?? true,
  }));
}

interface DialectParts {
  readonly context: ServerContext;
  readonly model: ServedModel;
  readonly body: CompletionBody;
  readonly prompts: readonly number[][];
  readonly echoes: readonly (PromptEcho | null)[];
  readonly generation: Generation;
  readonly numChoices: number;
}

/** One choice while it is collected. */
interface CollectedChoice {
  text: string;
  readonly tokenIds: number[];
  readonly entries: (TokenLogprobs | null)[];
  finishReason: FinishReason | null;
  stopReason: string | number | null;
}

class CompletionDialect implements Dialect {
  readonly #parts: DialectParts;
  readonly #head: Record<string, unknown>;
  readonly #choices: CollectedChoice[];
  readonly #builders: CompletionLogprobsBuilder[];

  constructor(parts: DialectParts) {
    this.#parts = parts;
    this.#head = {
      id: `cmpl-${randomUUID().replaceAll("-", "")}`,
      object: "text_completion",
      created: Math.floor(Date.now() / 1000),
      model: parts.model.id,
    };
    const count = parts.prompts.length * parts.numChoices;
    const echoAt = (index: number): PromptEcho | null => parts.echoes[Math.floor(index / parts.numChoices)]!;
    this.#choices = Array.from({ length: count }, (_, index) => ({
      text: echoAt(index)?.text ?? "",
      tokenIds: [...(echoAt(index)?.tokenIds ?? [])],
      entries: [...(echoAt(index)?.entries ?? [])],
      finishReason: parts.body.max_tokens === 0 ? "length" : null,
      stopReason: null,
    }));
    this.#builders = this.#choices.map(
      (choice) => new CompletionLogprobsBuilder(parts.model.tokenizer, choice.text.length),
    );
  }

  opening(): readonly unknown[] {
    return this.#parts.echoes.flatMap((echo, prompt) => {
      if (echo === null) return [];
      const first = prompt * this.#parts.numChoices;
      return Array.from({ length: this.#parts.numChoices }, (_, index) => {
        const logprobs = this.#wantsLogprobs
          ? new CompletionLogprobsBuilder(this.#parts.model.tokenizer).build(echo.tokenIds, echo.entries)
          : null;
        return this.#chunk(first + index, { text: echo.text, logprobs, finish_reason: null, stop_reason: null });
      });
    });
  }

  chunks({ index, delta }: ChoiceEvent): readonly unknown[] {
    const { body } = this.#parts;
    // A token whose text is not certain yet has nothing to show, unless its logprobs were asked for.
    const hasNews = delta.text !== "" || delta.finishReason !== null || delta.tokenIds.length > 0;
    if (!hasNews) return [];
    const logprobs =
      this.#wantsLogprobs && delta.logprobs !== null
        ? this.#builders[index]!.build(delta.tokenIds, delta.logprobs)
        : null;
    const chunk = this.#chunk(index, {
      text: delta.text,
      logprobs,
      finish_reason: delta.finishReason,
      stop_reason: delta.stopReason,
      ...(body.return_token_ids === true ? { token_ids: delta.tokenIds } : {}),
    });
    if (body.stream_options?.continuous_usage_stats === true) chunk["usage"] = this.#usage();
    return [chunk];
  }

  closing(): readonly unknown[] {
    if (this.#parts.body.stream_options?.include_usage !== true) return [];
    const system_fingerprint = this.#parts.context.fingerprint;
    return [{ ...this.#head, system_fingerprint, choices: [], usage: this.#usage() }];
  }

  collect({ index, delta }: ChoiceEvent): void {
    const choice = this.#choices[index]!;
    choice.text += delta.text;
    choice.tokenIds.push(...delta.tokenIds);
    if (delta.logprobs !== null) choice.entries.push(...delta.logprobs);
    choice.finishReason = delta.finishReason ?? choice.finishReason;
    choice.stopReason = delta.stopReason ?? choice.stopReason;
  }

  whole(): unknown {
    const { body, model, context } = this.#parts;
    const choices = this.#choices.map((choice, index) => ({
      index,
      text: choice.text,
      logprobs: this.#wholeLogprobs(choice, model),
      finish_reason: choice.finishReason,
      stop_reason: choice.stopReason,
      ...(body.return_token_ids === true ? { token_ids: choice.tokenIds } : {}),
    }));
    return { ...this.#head, system_fingerprint: context.fingerprint, choices, usage: this.#usage() };
  }

  get #wantsLogprobs(): boolean {
    return this.#parts.body.logprobs != null;
  }

  #wholeLogprobs(choice: CollectedChoice, model: ServedModel): CompletionLogprobs | null {
    if (!this.#wantsLogprobs) return null;
    return new CompletionLogprobsBuilder(model.tokenizer).build(choice.tokenIds, choice.entries);
  }

  #chunk(index: number, choice: Record<string, unknown>): Record<string, unknown> {
    return { ...this.#head, choices: [{ index, ...choice }] };
  }

  #usage(): unknown {
    const { generation, prompts, numChoices, body } = this.#parts;
    if (body.max_tokens !== 0) return usageObject(generation.usage(numChoices));
    const prompt = prompts.reduce((sum, ids) => sum + ids.length, 0);
    return usageObject({ prompt, completion: 0, cached: 0 });
  }
}
