import type { ScoreResult } from "../../protocol/engine-client.ts";
import { maxLogprobs } from "../../protocol/sampling-params.ts";
import type { SequenceEvent } from "../run-sequences.ts";
import type { ServedModel } from "../served-model.ts";
import { demand } from "./field-errors.ts";
import { type Dialect, generationHandler, type Question, type Request, type Wording } from "./generation.ts";
import {
  type CompletionLogprobs,
  CompletionLogprobsBuilder,
  emptyCompletionLogprobs,
  type PromptLogprobsBody,
} from "./logprobs.ts";
import { type Prompt, readPrompts } from "./prompts.ts";
import { type CompletionBody, completionSchema } from "./schemas.ts";

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

const dialect: Dialect<CompletionBody, CompletionChunk> = {
  schema: completionSchema,
  idPrefix: "cmpl",
  objects: { whole: "text_completion", chunk: "text_completion" },
  ask: askCompletion,
  word: (request) => new CompletionWording(request),
};

/** `POST /v1/completions`. */
export const handleCompletions = generationHandler(dialect);

function askCompletion(body: CompletionBody, model: ServedModel): Question {
  const asked = body.max_tokens ?? null;
  const logprobs = body.logprobs ?? null;
  if (asked !== null) {
    demand(asked >= (body.echo === true ? 0 : 1), "max_tokens", asked, "at least 1, or 0 together with echo");
  }
  if (logprobs !== null) {
    demand(logprobs >= 0 && logprobs <= maxLogprobs, "logprobs", logprobs, `from 0 to ${maxLogprobs}`);
  }
  const limit =
    asked === null ? { maxTokens: defaultMaxTokens, param: null } : { maxTokens: asked, param: "max_tokens" };
  return { prompts: readPrompts(body, model), limit, logprobs };
}

/** Chunks: the echoed prompt where it is wanted, then the text as it comes. */
class CompletionWording implements Wording<CompletionChunk> {
  readonly #request: Request<CompletionBody>;
  readonly #logprobs: CompletionLogprobsBuilder[];
  readonly #isFirst: boolean[];
  readonly #choices: Choice[] = [];

  constructor(request: Request<CompletionBody>) {
    this.#request = request;
    const { prompts, plan, model } = request;
    this.#isFirst = Array.from({ length: prompts.length * plan.n }, () => request.body.echo !== true);
    this.#logprobs = this.#isFirst.map(() => new CompletionLogprobsBuilder(model.tokenizer));
  }

  /** The prompt of every choice, scored once where log-probabilities are wanted. */
  async *prelude(signal: AbortSignal): AsyncGenerator<CompletionChunk> {
    const { body, model, prompts, plan, delivery } = this.#request;
    if (body.echo !== true) return;
    const { logprobs: topK, maxTokens } = plan.sampling;
    for (const [at, prompt] of prompts.entries()) {
      if (signal.aborted) return;
      const scores = topK === null ? null : await this.#score(prompt, topK);
      for (let index = at * plan.n; index < (at + 1) * plan.n; index += 1) {
        const choice: Choice = {
          index,
          text: prompt.text ?? model.tokenizer.decode(prompt.tokenIds, { skipSpecialTokens: false }),
          logprobs: topK === null ? null : this.#promptLogprobs(index, prompt, scores, topK),
          finish_reason: maxTokens === 0 ? "length" : null,
          stop_reason: null,
          ...(delivery.returnTokenIds ? { prompt_token_ids: prompt.tokenIds, token_ids: [] } : {}),
        };
        yield { choices: [choice] };
      }
    }
  }

  chunks({ index, delta }: SequenceEvent): CompletionChunk[] {
    const { prompts, plan, delivery } = this.#request;
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
    const choice = this.#choices[piece.index];
    if (choice === undefined) this.#choices[piece.index] = piece;
    else append(choice, piece);
  }

  whole(promptLogprobs: readonly PromptLogprobsBody[] | null): object {
    if (promptLogprobs === null) return { choices: this.#choices };
    const { n } = this.#request.plan;
    return {
      choices: this.#choices.map((choice) => ({
        ...choice,
        prompt_logprobs: promptLogprobs[Math.floor(choice.index / n)],
      })),
    };
  }

  #score(prompt: Prompt, topK: number): Promise<ScoreResult | null> {
    if (prompt.tokenIds.length < 2) return Promise.resolve(null);
    const { model, scheduling } = this.#request;
    return model.client.score({ tokenIds: prompt.tokenIds, start: 1, topK, scheduling });
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
