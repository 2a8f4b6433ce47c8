import { createInterface, type Interface } from "node:readline/promises";
import { Writable } from "node:stream";
import { isMillraceError, MillraceError } from "../base/errors.ts";
import { contextAdvice } from "../protocol/context-advice.ts";
import type { EngineClient, FinishReason } from "../protocol/engine-client.ts";
import type { SamplingParams } from "../protocol/sampling-params.ts";
import { createTextStream } from "../text/text-generator.ts";
import type { ChatMessage, ChatTemplate, Tokenizer } from "../tokenizer/tokenizer.ts";

export interface ChatParts {
  readonly client: EngineClient;
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate;
  readonly sampling: SamplingParams;
  /** Texts that end an answer. */
  readonly stop: readonly string[];
  readonly system: string | undefined;
}

export interface ChatStreams {
  readonly input: NodeJS.ReadableStream;
  /** Takes the answers and nothing else. */
  readonly answers: NodeJS.WritableStream;
  /** Takes the prompt, what is typed, and notes. */
  readonly dialogue: NodeJS.WritableStream & { readonly columns?: number };
  /** Whether a person types; else every line is a message, and the first failure ends the session. */
  readonly isTerminal: boolean;
}

const commands = "/reset forgets the conversation, /exit ends it, Ctrl-C stops an answer, Ctrl-D ends.";

/** Holds a conversation until its input ends. Errors: those of requests, where no person is there to read them. */
export async function runChatSession(parts: ChatParts, streams: ChatStreams): Promise<void> {
  const { dialogue, isTerminal } = streams;
  const conversation = new Conversation(parts, streams.answers);
  const screen = new InputEcho(dialogue);
  const lines = createInterface({
    input: streams.input,
    output: screen,
    prompt: isTerminal ? "> " : "",
    terminal: isTerminal,
  });
  const note = (text: string): void => void dialogue.write(`${text}\n`);
  let answering: AbortController | null = null;
  let numAhead = 0;
  lines.on("line", () => answering !== null && (numAhead += 1));
  lines.on("SIGINT", () => (answering === null ? clearOrClose(lines) : answering.abort()));
  // A person's Ctrl-D wants no more of the answer; the end of a pipe comes long before its answers.
  lines.on("close", () => isTerminal && answering?.abort());
  if (isTerminal) note("Type a message. /help lists the commands.");
  lines.prompt();
  for await (const line of lines) {
    const text = line.trim();
    if (numAhead > 0) {
      // It was typed while the last answer came, and not shown then.
      numAhead -= 1;
      if (isTerminal) note(line);
    }
    if (text === "/exit" || text === "/quit") break;
    if (text === "/reset") {
      conversation.reset();
      note("The conversation is empty again.");
    } else if (/^\/[a-z]+$/.test(text)) {
      note(text === "/help" ? commands : `There is no command ${text}. ${commands}`);
    } else if (text !== "") {
      answering = new AbortController();
      screen.isMuted = isTerminal;
      try {
        const remark = await conversation.answer(text, answering.signal);
        if (remark !== null) note(remark);
      } catch (error) {
        if (!isTerminal || !isMillraceError(error)) throw error;
        note(`${error.message} [${error.code}]`);
      } finally {
        screen.isMuted = false;
        answering = null;
      }
    }
    lines.prompt(true);
  }
  lines.close();
  if (isTerminal) note("");
}

/** Ctrl-C as shells have it: it drops what is typed, or ends where nothing is. */
function clearOrClose(lines: Interface): void {
  if (lines.line === "") lines.close();
  else lines.write(null, { ctrl: true, name: "u" });
}

/** Shows what is typed, except while an answer is written in its place. */
class InputEcho extends Writable {
  isMuted = false;
  readonly #screen: ChatStreams["dialogue"];

  constructor(screen: ChatStreams["dialogue"]) {
    super();
    this.#screen = screen;
  }

  get columns(): number | undefined {
    return this.#screen.columns;
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, done: () => void): void {
    if (!this.isMuted) this.#screen.write(chunk);
    done();
  }
}

/** The messages so far. */
class Conversation {
  readonly #parts: ChatParts;
  readonly #answers: NodeJS.WritableStream;
  #messages: ChatMessage[] = [];
  #numAnswers = 0;

  constructor(parts: ChatParts, answers: NodeJS.WritableStream) {
    this.#parts = parts;
    this.#answers = answers;
    this.reset();
  }

  reset(): void {
    const { system } = this.#parts;
    this.#messages = system === undefined ? [] : [{ role: "system", content: system }];
  }

  /** Writes the answer as it comes. Returns a remark where it is not whole; a message without an answer is forgotten. */
  async answer(text: string, signal: AbortSignal): Promise<string | null> {
    const { client, tokenizer, sampling, stop } = this.#parts;
    const messages = [...this.#messages, { role: "user", content: text }];
    const promptTokenIds = this.#encode(messages);
    const room = this.#roomAfter(promptTokenIds.length);
    const requestId = `chat-${this.#numAnswers++}`;
    const maxTokens = Math.min(sampling.maxTokens, room);
    const stream = createTextStream(client, tokenizer, {
      requestId,
      promptTokenIds,
      sampling: { ...sampling, maxTokens },
      stop,
      includeStopInOutput: false,
      skipSpecialTokens: true,
    });
    const abort = (): void => client.abort(requestId);
    signal.addEventListener("abort", abort);
    let reply = "";
    let reason: FinishReason | null = null;
    for await (const delta of stream) {
      this.#answers.write(delta.text);
      reply += delta.text;
      reason = delta.finishReason;
      if (signal.aborted) abort();
    }
    this.#answers.write("\n");
    if (reply !== "") this.#messages = [...messages, { role: "assistant", content: reply }];
    if (reason === "abort") return "(stopped)";
    if (reason !== "length") return null;
    return maxTokens === sampling.maxTokens
      ? `(cut after ${maxTokens} tokens; start with a larger --max-tokens)`
      : "(cut since the context is full; /reset starts anew)";
  }

  #encode(messages: readonly ChatMessage[]): readonly number[] {
    const { template, tokenizer } = this.#parts;
    const prompt = template.render(messages, { addGenerationPrompt: true });
    return tokenizer.encode(prompt, { addSpecialTokens: false });
  }

  #roomAfter(numTokens: number): number {
    const { info } = this.#parts.client;
    const { maxModelLen } = info;
    if (numTokens < maxModelLen) return maxModelLen - numTokens;
    throw new MillraceError(
      "context_length_exceeded",
      `This model's maximum context length is ${maxModelLen} tokens. The conversation has ${numTokens} tokens, which ` +
        `leaves none for the answer. ${contextAdvice("Start anew with /reset", numTokens + 1, info)}`,
    );
  }
}
