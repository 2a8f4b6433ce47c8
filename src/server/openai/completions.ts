import { type PromptLogprobs, scorePrompts } from "../../text/prompt-logprobs.ts";
import type { Dialect, Question, Request } from "../generation/dialect.ts";
import { generationHandler } from "../generation/generation.ts";
import type { SequenceEvent } from "../generation/run-sequences.ts";
import { demand } from "../request/field-errors.ts";
import { openAiFields } from "../request/field-support.ts";
import { type Prompt, readPrompts } from "../request/prompts.ts";
import { type CompletionBody, completionSchema } from "../request/schemas.ts";
import type { ServedModel } from "../served-model.ts";
import {
  type CompletionLogprobs,
  CompletionLogprobsBuilder,
  emptyCompletionLogprobs,
  type PromptLogprobsBody,
} from "./logprobs.ts";
import { OpenAiWording } from "./wording.ts";

const defaultMaxTokens = 16;

interface Choice {
  readonly index: number;
  text: string;
  logprobs: CompletionLogprobs | null;
  finish_reason: string | null;
  stop_reason: string | number | null;
  token_ids?: number[];
  prompt_token_ids?: readonly number[];
}

interface CompletionChunk {
  readonly choices: readonly [Choice];
}

const dialect: Dialect<CompletionBody, CompletionBody, CompletionChunk, Question> = {
  schema: completionSchema,
  fields: openAiFields,
  idPrefix: "cmpl-",
  translate: (body) => body,
  ask: askCompletion,
  word: (request) => new CompletionWording(request),
};

/** `POST /v1/completions`. */
export const handleCompletions = generationHandler(dialect);

function askCompletion(body: CompletionBody, model: ServedModel): Question {
  const asked = body.max_tokens ?? null;
  const logprobs = body.logprobs ?? null;
  demand(asked !== 0 || body.echo === true, "max_tokens", asked, "at least 1, or 0 together with echo");
  const limit =
    asked === null ? { maxTokens: defaultMaxTokens, param: null } : { maxTokens: asked, param: "max_tokens" };
  return { prompts: readPrompts(body, model), limit, logprobs };
}

/** Chunks: the echoed prompt where it is wanted, then the text as it comes. */
class CompletionWording extends OpenAiWording<CompletionBody, CompletionChunk> {
  readonly #logprobs: CompletionLogprobsBuilder[];
  readonly #isFirst: boolean[];
  readonly #pieces: Choice[] = [];

  constructor(request: Request<CompletionBody>) {
    super(request, { whole: "text_completion", chunk: "text_completion" });
    const { prompts, plan, model } = request;
    this.#isFirst = Array.from({ length: prompts.length * plan.n }, () => request.body.echo !== true);
    this.#logprobs = this.#isFirst.map(() => new CompletionLogprobsBuilder(model.tokenizer));
  }

  /** The prompt of every choice, scored once where log-probabilities are wanted. */
  async *prelude(
    signal: AbortSignal,
    onCached: (prompt: number, numTokens: number) => void,
  ): AsyncGenerator<CompletionChunk> {
    const { body, model, prompts, plan, delivery, scheduling } = this.request;
    if (body.echo !== true) return;
    const { logprobs: numTop, maxTokens } = plan.sampling;
    const tokenIds = prompts.map((prompt) => prompt.tokenIds);
    const terms = { scheduling, signal, onCached };
    const scores = numTop === null ? null : await scorePrompts(model.promptScorer, tokenIds, numTop, terms);
    for (const [at, prompt] of prompts.entries()) {
      for (let index = at * plan.n; index < (at + 1) * plan.n; index += 1) {
        const choice: Choice = {
          index,
          text: prompt.text ?? model.tokenizer.decode(prompt.tokenIds, { skipSpecialTokens: false }),
          logprobs: scores === null ? null : this.#promptLogprobs(index, prompt, scores[at]!),
          finish_reason: maxTokens === 0 ? "length" : null,
          stop_reason: null,
          ...(delivery.returnTokenIds ? { prompt_token_ids: prompt.tokenIds, token_ids: [] } : {}),
        };
        yield { choices: [choice] };
      }
    }
  }

  chunks({ index, delta }: SequenceEvent): CompletionChunk[] {
    const { prompts, plan, delivery } = this.request;
    const { returnTokenIds, continuousUsage } = delivery;
    const logprobs = this.#answerLogprobs(index, delta);
    const says = delta.text !== "" || delta.finishReason !== null || logprobs !== null;
    if (!says && !returnTokenIds && !continuousUsage) return [];
    const choice: Choice = {
      index,
      text: delta.text,
      logprobs,
      finish_reason: delta.finishReason,
      stop_reason: delta.stopReason,
      ...(returnTokenIds ? { token_ids: [...delta.tokenIds] } : {}),
    };
    if (this.#isFirst[index] === true && returnTokenIds) {
      choice.prompt_token_ids = prompts[Math.floor(index / plan.n)]!.tokenIds;
    }
    this.#isFirst[index] = false;
    return [{ choices: [choice] }];
  }

  add({ choices: [piece] }: CompletionChunk): void {
    const choice = this.#pieces[piece.index];
    if (choice === undefined) this.#pieces[piece.index] = piece;
    else append(choice, piece);
  }

  protected choices(promptLogprobs: readonly PromptLogprobsBody[] | null): object {
    if (promptLogprobs === null) return { choices: this.#pieces };
    const { n } = this.request.plan;
    return {
      choices: this.#pieces.map((choice) => ({
        ...choice,
        prompt_logprobs: promptLogprobs[Math.floor(choice.index / n)],
      })),
    };
  }

  #promptLogprobs(index: number, prompt: Prompt, scores: PromptLogprobs): CompletionLogprobs {
    const builder = this.#logprobs[index]!;
    const logprobs = emptyCompletionLogprobs();
    for (const [position, score] of scores.entries()) {
      const id = prompt.tokenIds[position]!;
      if (score === null) builder.addUnscored(logprobs, id);
      else builder.add(logprobs, { id, ...score });
    }
    return logprobs;
  }

  #answerLogprobs(index: number, delta: SequenceEvent["delta"]): CompletionLogprobs | null {
    if (delta.logprobs === null) return null;
    const logprobs = emptyCompletionLogprobs();
    for (const [at, row] of delta.logprobs.entries()) {
      this.#logprobs[index]!.add(logprobs, { id: delta.tokenIds[at]!, ...row });
    }
    return logprobs;
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
