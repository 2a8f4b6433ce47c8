import { MillraceError } from "../../base/errors.ts";
import type { Completer, Completion } from "../../protocol/completer.ts";
import type { ScoreRequest, ScoreResult, Scorer } from "../../protocol/engine-client.ts";
import type { ChatMessage, Tokenizer } from "../../tokenizer/tokenizer.ts";
import type {
  Answer,
  GenerationLimits,
  LanguageModel,
  Likelihood,
  ModelRequest,
  PreparedRequest,
  PromptTokens,
} from "./model-request.ts";
import { PromptTokenCount } from "./prompt-token-count.ts";
import { encodePair, encodePrompt, encodeRolling, type RequestEncoder } from "./request-tokens.ts";

export interface TokenModelParts {
  readonly tokenizer: Tokenizer;
  /** Most tokens the model reads at once. */
  readonly maxLength: number;
  /** Null where the model gives no log-likelihoods. */
  readonly scorer: Scorer | null;
  /** Null where the model cannot write. */
  readonly completer: Completer | null;
}

/** A model that is asked in token ids: the engine in process, or a server's completions endpoint. */
export class TokenModel implements LanguageModel {
  readonly maxLength: number;
  readonly renderChat: LanguageModel["renderChat"];
  readonly #parts: TokenModelParts;
  readonly #encoder: RequestEncoder;
  readonly #promptTokens = new PromptTokenCount();

  constructor(parts: TokenModelParts) {
    const { tokenizer, maxLength } = parts;
    const { chatTemplate } = tokenizer;
    this.maxLength = maxLength;
    this.#parts = parts;
    this.#encoder = { tokenizer, maxLength };
    this.renderChat =
      chatTemplate === null
        ? null
        : (messages, continuesLast) =>
            continuesLast
              ? cutAfterLast(chatTemplate.render(messages), messages)
              : chatTemplate.render(messages, { addGenerationPrompt: true });
  }

  get promptTokens(): PromptTokens | undefined {
    return this.#promptTokens.total;
  }

  prepare(request: ModelRequest): PreparedRequest {
    if (request.kind === "generation") {
      if (typeof request.prompt !== "string") throw unsupported("has no chat template for chat prompts");
      return this.#prepareAnswer(request.prompt, request.limits);
    }
    if (request.kind === "rolling") return this.#prepareScores(encodeRolling(this.#encoder, request.text), 0);
    const pair = encodePair(this.#encoder, request.context, request.continuation);
    return this.#prepareScores([pair.request], pair.numLost);
  }

  /** The log-likelihoods of several windows are added up. */
  #prepareScores(windows: readonly ScoreRequest[], numLost: number): PreparedRequest {
    const { scorer } = this.#parts;
    if (scorer === null) throw unsupported("gives no log-likelihoods");
    return {
      size: windows.reduce((size, { tokenIds }) => size + tokenIds.length, 0),
      numLost,
      send: async (signal) => {
        let total: Likelihood = { logLikelihood: 0, isGreedy: true };
        for (const window of windows) {
          const result = await scorer.score(window, signal);
          this.#count(window.tokenIds.length, result.numCachedTokens);
          total = addLikelihood(total, window, result);
        }
        return total;
      },
    };
  }

  #prepareAnswer(prompt: string, limits: GenerationLimits): PreparedRequest {
    const { completer, tokenizer } = this.#parts;
    if (completer === null) throw unsupported("writes no text");
    const { tokenIds, numLost } = encodePrompt(this.#encoder, prompt, limits.maxNewTokens);
    const settings = {
      stop: limits.until,
      stopTokenIds: limits.until.flatMap((text) => specialTokenOf(tokenizer, text)),
      maxTokens: limits.maxNewTokens,
      temperature: limits.temperature,
      topP: limits.topP,
      seed: limits.seed,
    };
    return {
      size: tokenIds.length + limits.maxNewTokens,
      numLost,
      send: async (signal): Promise<Answer> => {
        const answer = await completer.complete(tokenIds, settings, signal);
        const { text, finishReason, numCachedTokens } = answer;
        this.#count(tokenIds.length, numCachedTokens);
        return answerOf(text, finishReason, limits);
      },
    };
  }

  /** By the ids that were sent, whatever a server counts. */
  #count(numPromptTokens: number, numCachedTokens: number | undefined): void {
    this.#promptTokens.add({
      numPromptTokens,
      ...(numCachedTokens === undefined ? {} : { numCachedTokens }),
    });
  }
}

/** Adds up in f64, in order. */
function addLikelihood(before: Likelihood, request: ScoreRequest, result: ScoreResult): Likelihood {
  let sum = 0;
  let { isGreedy } = before;
  for (const [i, logprob] of result.logprobs.entries()) {
    sum += logprob;
    isGreedy &&= result.argmax[i] === request.tokenIds[request.start + i];
  }
  return { logLikelihood: before.logLikelihood + sum, isGreedy };
}

/** What counts of a written text. It ran into the limit where neither the model nor a stop text ended it. */
export function answerOf(
  written: string,
  finishReason: Completion["finishReason"],
  { until }: GenerationLimits,
): Answer {
  const text = cutAtStops(written, until);
  return { text, isCut: finishReason === "length" && text === written };
}

/** At the first occurrence of each text, in the order of the list. */
function cutAtStops(text: string, stops: readonly string[]): string {
  let kept = text;
  for (const stop of stops) if (stop !== "") kept = kept.split(stop, 1)[0]!;
  return kept;
}

/** A stop text that is one special token never shows in the answer's text: it ends the answer by its id. */
function specialTokenOf(tokenizer: Tokenizer, text: string): number[] {
  const ids = tokenizer.encode(text, { addSpecialTokens: false });
  return ids.length === 1 && tokenizer.isSpecial(ids[0]!) ? ids : [];
}

/** The rendered text up to the end of the last message's content, so that the model goes on from there. */
function cutAfterLast(rendered: string, messages: readonly ChatMessage[]): string {
  const content = (messages.at(-1)?.content ?? "").trim();
  const at = rendered.lastIndexOf(content);
  return at === -1 ? rendered : rendered.slice(0, at + content.length);
}

function unsupported(what: string): MillraceError {
  return new MillraceError(
    "evaluation_unsupported",
    `This model ${what}, and a chosen task needs that. Choose other tasks, or another way to reach the model.`,
    { param: "--tasks" },
  );
}
