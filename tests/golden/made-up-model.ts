import { createHash } from "node:crypto";
import type {
  LanguageModel,
  ModelRequest,
  ModelResponse,
} from "../../src/evaluate/requests/model-request.ts";
import type { ChatMessage } from "../../src/tokenizer/tokenizer.ts";

/**
 * The model of the recorded lm-eval runs: log-likelihoods come from SHA-256 of the texts, answers from `answers`, by
 * prompt; several answers of one prompt are given in turn.
 */
export function createMadeUpModel(
  answers: ReadonlyMap<string, readonly string[]> = new Map(),
): LanguageModel {
  const numAsked = new Map<string, number>();
  return {
    renderChat,
    maxLength: 1 << 20,
    prepare: (request) => ({
      size: 1,
      send: () => Promise.resolve(answer(request, answers, numAsked)),
    }),
  };
}

function answer(
  request: ModelRequest,
  answers: ReadonlyMap<string, readonly string[]>,
  numAsked: Map<string, number>,
): ModelResponse {
  if (request.kind === "rolling") {
    return { logLikelihood: -share(request.text) * 5000 - 1000, isGreedy: false };
  }
  if (request.kind === "loglikelihood") {
    const text = `${request.context}\0${request.continuation}`;
    return { logLikelihood: -share(text) * 50, isGreedy: (digestOf(text)[4]! & 1) === 1 };
  }
  const { prompt } = request;
  if (typeof prompt !== "string") throw new Error("the made-up model renders chats itself");
  const count = numAsked.get(prompt) ?? 0;
  numAsked.set(prompt, count + 1);
  const text = answers.get(prompt)?.[count];
  if (text === undefined) throw new Error(`no recorded answer for ${prompt.slice(-200)}`);
  return { text, isCut: false };
}

function digestOf(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

function share(text: string): number {
  return digestOf(text).readUInt32BE(0) / 4294967296;
}

function renderChat(messages: readonly ChatMessage[], continuesLast: boolean): string {
  const texts = messages.map(({ role, content }) => `<|${role}|>${content}`);
  return texts.join("<|end|>") + (continuesLast ? "" : "<|end|><|assistant|>");
}
