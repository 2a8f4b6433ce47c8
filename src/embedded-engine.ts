import { randomUUID } from "node:crypto";
import { toJSONSchema, type ZodType } from "zod";
import { definedOnly } from "./base/defined-only.ts";
import { MillraceError } from "./base/errors.ts";
import { onAbort } from "./base/on-abort.ts";
import { defaultEngineOptions } from "./engine/engine-options.ts";
import { startEngineWorker } from "./engine/worker-client.ts";
import { openCheckpoint } from "./formats/open-checkpoint.ts";
import { loadTokenizerSource } from "./formats/tokenizer-source.ts";
import { GrammarPool } from "./grammar/grammar-pool.ts";
import type { GrammarSpec, JsonSchema } from "./grammar/grammar-spec.ts";
import { mapFile } from "./kernels/map-file.ts";
import { checkLoadOptions, type LoadOptions } from "./load-options.ts";
import { requireArchitecture } from "./model/registry.ts";
import { inOptionNames } from "./option-names.ts";
import type {
  EngineClient,
  EngineInfo,
  EngineOutput,
  EngineStats,
  FinishReason,
  GenerateRequest,
  RequestTrace,
  ScoreResult,
  StepTrace,
  TokenLogprobs,
} from "./protocol/engine-client.ts";
import { defaultSampling, type SamplingParams } from "./protocol/sampling-params.ts";
import type { TokenGrammar } from "./protocol/token-mask-channel.ts";
import {
  checkMessages,
  checkPrompt,
  checkPromptIds,
  checkScoreOptions,
  checkTextOptions,
  checkTokenOptions,
  type Prompt,
  type ScoreOptions,
  type TextOptions,
  type TokenOptions,
} from "./request-options.ts";
import { createTextStream, type TextUsage } from "./text/text-generator.ts";
import type { TextDelta } from "./text/text-stream.ts";
import { createTokenizer } from "./tokenizer/create-tokenizer.ts";
import type { ChatMessage, Tokenizer } from "./tokenizer/tokenizer.ts";

/** An answer on its way. Nothing runs before its loop begins; leaving the loop ends the request. Iterate once. */
export interface TextGeneration extends AsyncIterable<TextDelta> {
  /** Tokens so far. */
  readonly usage: TextUsage;
  /** After the loop, where `explain` was asked. */
  readonly trace: RequestTrace | null;
}

/** A whole answer. */
export interface Completion {
  readonly text: string;
  readonly tokenIds: readonly number[];
  /** One per token, or null where none were asked for. */
  readonly logprobs: readonly TokenLogprobs[] | null;
  readonly finishReason: FinishReason;
  /** The stop string or stop id that ended it. */
  readonly stopReason: string | number | null;
  readonly usage: TextUsage;
  readonly trace: RequestTrace | null;
}

/**
 * A model in this process, on a thread of its own. Any number of requests may be open: they share its steps and its
 * prefix cache, and each gets the same answer as alone. An open engine keeps the process alive; `close` it.
 */
export class Engine implements AsyncDisposable {
  readonly client: EngineClient;
  /** Null for a model that comes without one: then only token ids go in and out. */
  readonly tokenizer: Tokenizer | null;
  #grammars: GrammarPool | null = null;

  /** For clients made otherwise, such as a fake one in tests; `Engine.load` is the usual way. */
  constructor(client: EngineClient, tokenizer: Tokenizer | null) {
    this.client = client;
    this.tokenizer = tokenizer;
  }

  /**
   * Loads a model folder or a GGUF file; resolves when it can answer. Errors: those of the files (`file_not_found`,
   * `invalid_model_file`, `unsupported_format`, `unsupported_architecture`, …), `invalid_option` naming the option,
   * `out_of_memory`.
   */
  static async load(modelPath: string, options: LoadOptions = {}): Promise<Engine> {
    const { tokenizerPath, ...engineOptions } = checkLoadOptions(options);
    try {
      const tokenizer = openTokenizer(modelPath, tokenizerPath);
      const client = await startEngineWorker({ ...defaultEngineOptions(modelPath), ...engineOptions });
      return new Engine(client, tokenizer);
    } catch (error) {
      throw inOptionNames(error);
    }
  }

  /** What is served: context length, KV cache, threads, memory, notes. */
  get info(): EngineInfo {
    return this.client.info;
  }

  /** Writes on from a prompt; text comes as it becomes certain. Errors: see `GenerateRequest`. */
  generate(prompt: Prompt, options: TextOptions = {}): TextGeneration {
    checkPrompt(prompt);
    checkTextOptions(options);
    const tokenizer = this.#requireTokenizer();
    const promptTokenIds = typeof prompt === "string" ? tokenizer.encode(prompt) : prompt;
    return new Generation(this.client, tokenizer, promptTokenIds, options);
  }

  /** Answers a conversation with the model's chat template. Errors: `no_chat_template`, those of `generate`. */
  chat(messages: readonly ChatMessage[], options: TextOptions = {}): TextGeneration {
    checkMessages(messages);
    const tokenizer = this.#requireTokenizer();
    if (tokenizer.chatTemplate === null) {
      throw new MillraceError(
        "no_chat_template",
        "The model has no chat template, which a conversation needs. Use generate with a text of your own.",
      );
    }
    const text = tokenizer.chatTemplate.render(messages, { addGenerationPrompt: true });
    // The template writes its own special tokens.
    return this.generate(tokenizer.encode(text, { addSpecialTokens: false }), options);
  }

  /** Compiles what answers are to follow, for the `grammar` of their options. Errors: `invalid_request`. */
  grammar(spec: GrammarSpec): Promise<TokenGrammar> {
    return this.#compile(spec, "grammar");
  }

  /**
   * Answers with a value of a zod schema: no token is drawn that would leave its JSON form. `input` is a prompt or a
   * conversation; `maxTokens` is 1024 by default. Errors: those of `generate` and `chat`; `invalid_request` naming what
   * of the schema cannot be kept to; `answer_incomplete` where the answer was cut before its end.
   */
  async completeObject<T>(
    input: Prompt | readonly ChatMessage[],
    schema: ZodType<T>,
    options: TextOptions = {},
  ): Promise<T> {
    const grammar = await this.#compile(
      { kind: "json-schema", schema: toJSONSchema(schema) as JsonSchema },
      "schema",
    );
    const given = { maxTokens: 1024, ...options, grammar };
    const isChat = Array.isArray(input) && typeof input[0] === "object";
    const { text, finishReason } = await collect(
      isChat ? this.chat(input as readonly ChatMessage[], given) : this.generate(input as Prompt, given),
    );
    if (finishReason === "stop") return schema.parse(JSON.parse(text));
    throw new MillraceError(
      "answer_incomplete",
      `The answer ended by ${finishReason} after ${text.length} characters, before its JSON was complete. Give more maxTokens, or a schema with shorter answers.`,
      { param: "maxTokens" },
    );
  }

  /** As `generate`, for those who want only the whole answer. */
  async complete(prompt: Prompt, options: TextOptions = {}): Promise<Completion> {
    return collect(this.generate(prompt, options));
  }

  /** Token ids in and out, without text. Stop strings need text: use `generate` for them. */
  generateTokens(
    promptTokenIds: readonly number[] | Int32Array,
    options: TokenOptions = {},
  ): AsyncIterable<EngineOutput> {
    checkPromptIds(promptTokenIds);
    checkTokenOptions(options);
    const request = requestOf(promptTokenIds, options);
    return abortable(options.signal, this.client, request.requestId, () => this.client.generate(request));
  }

  /** Log-likelihoods of a text's tokens from `start` on, each given all before it. Errors: see `GenerateRequest`. */
  async score(prompt: Prompt, options: ScoreOptions = {}): Promise<ScoreResult> {
    checkPrompt(prompt);
    checkScoreOptions(options);
    const { start = 1, topK = 0, signal, scheduling, adapter } = options;
    const tokenIds = typeof prompt === "string" ? this.#requireTokenizer().encode(prompt) : prompt;
    const request = { tokenIds, start, topK, ...definedOnly({ scheduling, adapter }) };
    try {
      return await this.client.score(request, signal);
    } catch (error) {
      throw inOptionNames(error);
    }
  }

  stats(): Promise<EngineStats> {
    return this.client.stats();
  }

  /** The newest steps, oldest first: who took part, who joined and left, how long it took. */
  recentSteps(): Promise<readonly StepTrace[]> {
    return this.client.recentSteps();
  }

  /** The lives of the requests and scores that ended last, oldest first, whether they asked or not. */
  recentRequests(): Promise<readonly RequestTrace[]> {
    return this.client.recentRequests();
  }

  resetPrefixCache(): void {
    this.client.resetPrefixCache();
  }

  /** Aborts what is open, frees the memory and ends the threads. */
  async close(): Promise<void> {
    await Promise.all([this.client.close(), this.#grammars?.close()]);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #compile(spec: GrammarSpec, param: string): Promise<TokenGrammar> {
    const { vocabSize, eosTokenIds: endTokenIds } = this.info;
    const tokenizer = this.#requireTokenizer();
    this.#grammars ??= new GrammarPool({ tokenizer, vocabSize, endTokenIds });
    return this.#grammars.prepare(spec, param);
  }

  #requireTokenizer(): Tokenizer {
    if (this.tokenizer !== null) return this.tokenizer;
    throw new MillraceError(
      "no_tokenizer",
      "The model has no tokenizer, which text needs. Load it with tokenizerPath, or use generateTokens.",
    );
  }
}

function openTokenizer(modelPath: string, tokenizerPath: string | undefined): Tokenizer | null {
  if (tokenizerPath !== undefined) return createTokenizer(loadTokenizerSource(tokenizerPath));
  const checkpoint = openCheckpoint(modelPath, { mapFile, onArchitecture: requireArchitecture });
  try {
    const source = checkpoint.tokenizer();
    return source === null ? null : createTokenizer(source);
  } finally {
    checkpoint.close();
  }
}

class Generation implements TextGeneration {
  readonly #start: () => ReturnType<typeof createTextStream>;
  readonly #client: EngineClient;
  readonly #requestId: string;
  readonly #signal: AbortSignal | undefined;
  #stream: ReturnType<typeof createTextStream> | null = null;
  readonly #numPromptTokens: number;

  constructor(
    client: EngineClient,
    tokenizer: Tokenizer,
    promptTokenIds: readonly number[] | Int32Array,
    options: TextOptions,
  ) {
    const request = requestOf(promptTokenIds, options);
    const { stop = [], includeStopInOutput = false, skipSpecialTokens = true, grammar } = options;
    const textRequest = { ...request, stop, includeStopInOutput, skipSpecialTokens, grammar };
    this.#client = client;
    this.#requestId = request.requestId;
    this.#signal = options.signal;
    this.#numPromptTokens = promptTokenIds.length;
    this.#start = () => createTextStream(client, tokenizer, textRequest);
  }

  get usage(): TextUsage {
    const none = { promptTokens: this.#numPromptTokens, completionTokens: 0, cachedTokens: 0 };
    return this.#stream?.usage ?? none;
  }

  get trace(): RequestTrace | null {
    return this.#stream?.trace ?? null;
  }

  [Symbol.asyncIterator](): AsyncIterator<TextDelta> {
    return abortable(this.#signal, this.#client, this.#requestId, () => {
      this.#stream = this.#start();
      return this.#stream;
    });
  }
}

/** Starts a request when its loop begins, and throws the signal's reason once that has ended it. */
async function* abortable<T extends { readonly finishReason: FinishReason | null }>(
  signal: AbortSignal | undefined,
  client: EngineClient,
  requestId: string,
  start: () => AsyncIterable<T>,
): AsyncGenerator<T> {
  signal?.throwIfAborted();
  const ignore = onAbort(signal, () => client.abort(requestId));
  try {
    for await (const piece of start()) {
      if (piece.finishReason === "abort") signal?.throwIfAborted();
      yield piece;
    }
  } catch (error) {
    throw inOptionNames(error);
  } finally {
    ignore();
  }
}

function requestOf(promptTokenIds: readonly number[] | Int32Array, options: TokenOptions): GenerateRequest {
  const { signal: _signal, scheduling, explain = false, requestId = randomUUID(), ...rest } = options;
  const { adapter, ...sampling } = rest;
  return {
    requestId,
    promptTokenIds,
    sampling: samplingOf(sampling),
    explain,
    ...definedOnly({ scheduling, adapter }),
  };
}

/** The named sampling values alone: text options may stand among them. */
function samplingOf(given: Partial<SamplingParams>): SamplingParams {
  const sampling: Record<string, unknown> = { ...defaultSampling };
  for (const key of Object.keys(defaultSampling) as (keyof SamplingParams)[]) {
    if (given[key] !== undefined) sampling[key] = given[key];
  }
  return sampling as unknown as SamplingParams;
}

async function collect(generation: TextGeneration): Promise<Completion> {
  let text = "";
  const tokenIds: number[] = [];
  let logprobs: TokenLogprobs[] | null = null;
  let finishReason: FinishReason = "error";
  let stopReason: string | number | null = null;
  for await (const delta of generation) {
    text += delta.text;
    tokenIds.push(...delta.tokenIds);
    if (delta.logprobs !== null) logprobs = [...(logprobs ?? []), ...delta.logprobs];
    finishReason = delta.finishReason ?? finishReason;
    stopReason = delta.stopReason;
  }
  const { usage, trace } = generation;
  return { text, tokenIds, logprobs, finishReason, stopReason, usage, trace };
}
