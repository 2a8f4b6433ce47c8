import { MessageChannel, Worker } from "node:worker_threads";
import { MillraceError, messageOf } from "../base/errors.ts";
import {
  maskChannelWords,
  type TokenGrammar,
  type TokenMaskChannel,
} from "../protocol/token-mask-channel.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import type { GrammarCommand, GrammarReport, GrammarVocabulary, LibrarySpec } from "./grammar-messages.ts";
import type { GrammarSpec } from "./grammar-spec.ts";
import { grammarVocabulary } from "./grammar-vocabulary.ts";
import { checkJsonSchema } from "./json-schema.ts";
import { quoteTexts } from "./quote-text.ts";
import { schemaGrammar } from "./schema-grammar.ts";

/** Longest time that compiling one grammar may take. Masks of other answers wait as long, once. */
const longestCompileMs = 5000;
/** Compiled grammars that are kept for the next request with the same one; each takes some 35 MB with 49,152 tokens. */
const maxKept = 8;
const maxProven = 1000;

interface PoolOptions {
  readonly tokenizer: Tokenizer;
  /** Columns of the model's logits. */
  readonly vocabSize: number;
  readonly endTokenIds: readonly number[];
}

/**
 * Compiled grammars of one model, and the threads that keep them: one where new grammars are tried and which may be
 * lost, one that keeps the masks of answers on their way. Neither is started before the first grammar comes.
 */
export class GrammarPool {
  readonly #options: PoolOptions;
  #vocabulary: Omit<GrammarVocabulary, "maxKept"> | null = null;
  #trial: GrammarThread | null = null;
  /** Trials come one after the other: one that fails takes its thread with it. */
  #lastTrial: Promise<unknown> = Promise.resolve();
  #keeper: GrammarThread | null = null;
  /** What has been compiled without fault, by its JSON; the one used last at the end. */
  readonly #proven = new Set<string>();

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  /**
   * Compiles a grammar, or finds it compiled.
   *
   * @param param field of the request that has it, for errors
   * @throws invalid_request naming the field: what is wrong, or that it takes too long
   */
  async prepare(spec: GrammarSpec, param: string): Promise<TokenGrammar> {
    const own = toLibrary(spec, param);
    const key = JSON.stringify(own);
    try {
      if (!this.#proven.has(key)) await this.#try(own);
      this.#remember(key);
      await this.#keep(own);
    } catch (error) {
      throw refused(param, messageOf(error));
    }
    return { open: () => this.#open(own) };
  }

  async close(): Promise<void> {
    await Promise.all([this.#trial?.end(), this.#keeper?.end()]);
  }

  /** Compiles it in a thread that may be lost. */
  async #try(spec: LibrarySpec): Promise<void> {
    const trial = this.#lastTrial.then(async () => {
      const thread = this.#trial ?? this.#start(1, () => {});
      this.#trial = thread;
      try {
        await thread.compile(spec, longestCompileMs);
      } catch (error) {
        this.#trial = null;
        void thread.end();
        throw error;
      }
    });
    this.#lastTrial = trial.catch(() => {});
    await trial;
  }

  /** Compiles it where masks are kept; a thread that fails at it is of no more use, and the next grammar starts another. */
  async #keep(spec: LibrarySpec): Promise<void> {
    const keeper =
      this.#keeper ??
      this.#start(maxKept, () => {
        if (this.#keeper === keeper) this.#keeper = null;
      });
    this.#keeper = keeper;
    try {
      await keeper.compile(spec);
    } catch (error) {
      void keeper.end();
      throw error;
    }
  }

  #remember(key: string): void {
    this.#proven.delete(key);
    this.#proven.add(key);
    if (this.#proven.size > maxProven) this.#proven.delete(this.#proven.values().next().value!);
  }

  #start(kept: number, onEnd: () => void): GrammarThread {
    const { tokenizer, vocabSize, endTokenIds } = this.#options;
    this.#vocabulary ??= grammarVocabulary(tokenizer, vocabSize, endTokenIds);
    return new GrammarThread({ ...this.#vocabulary, maxKept: kept }, onEnd);
  }

  #open(spec: LibrarySpec): TokenMaskChannel {
    const { port1, port2 } = new MessageChannel();
    const numWords = maskChannelWords.mask + Math.ceil(this.#options.vocabSize / 32);
    const shared = new SharedArrayBuffer(numWords * 4);
    const words = new Int32Array(shared);
    words[maskChannelWords.numHandled] = -1;
    // Without its thread the answer fails at once instead of waiting for a mask.
    if (this.#keeper === null) words[maskChannelWords.hasFailed] = 1;
    else this.#keeper.open(spec, { port: port2, shared });
    return { port: port1, shared };
  }
}

/** One thread, from the pool's side. It keeps no process alive. */
class GrammarThread {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, { resolve: () => void; reject: (error: Error) => void }>();
  /** What its channels share with readers, to tell them of its end. */
  readonly #channels = new Set<WeakRef<SharedArrayBuffer>>();
  #nextId = 0;

  constructor(vocabulary: GrammarVocabulary, onEnd: () => void) {
    this.#worker = new Worker(threadFile(), { workerData: vocabulary });
    this.#worker.on("message", (report: GrammarReport) => {
      const waiting = this.#waiting.get(report.id);
      this.#waiting.delete(report.id);
      if (report.kind === "compiled") waiting?.resolve();
      else waiting?.reject(new Error(report.reason));
    });
    this.#worker.on("error", (error) => this.#fail(error));
    this.#worker.once("exit", () => {
      this.#fail(new Error("its thread ended"));
      onEnd();
    });
    // Last: a listener for messages takes the hold on the process again.
    this.#worker.unref();
  }

  /** Rejects with the library's reason, or after `longestMs`; the thread is then of no more use. */
  async compile(spec: LibrarySpec, longestMs?: number): Promise<void> {
    const id = this.#nextId++;
    let timer: NodeJS.Timeout | undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        this.#waiting.set(id, { resolve, reject });
        if (longestMs !== undefined) {
          const error = new Error(`compiling it takes more than ${longestMs / 1000} s`);
          timer = setTimeout(() => reject(error), longestMs);
        }
        this.#worker.postMessage({ kind: "compile", id, spec } satisfies GrammarCommand);
      });
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(id);
    }
  }

  open(spec: LibrarySpec, channel: TokenMaskChannel): void {
    this.#channels.add(new WeakRef(channel.shared));
    for (const channels of this.#channels)
      if (channels.deref() === undefined) this.#channels.delete(channels);
    this.#worker.postMessage({ kind: "open", spec, channel } satisfies GrammarCommand, [channel.port]);
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }

  #fail(error: Error): void {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
    for (const reference of this.#channels) {
      const shared = reference.deref();
      if (shared === undefined) continue;
      const words = new Int32Array(shared);
      Atomics.store(words, maskChannelWords.hasFailed, 1);
      Atomics.notify(words, maskChannelWords.numHandled);
    }
    this.#channels.clear();
  }
}

function toLibrary(spec: GrammarSpec, param: string): LibrarySpec {
  if (spec.kind === "choice") return { kind: "ebnf", grammar: `root ::= ${quoteTexts(spec.choices)}` };
  if (spec.kind !== "json-schema") return spec;
  checkJsonSchema(spec.schema, param);
  return { kind: "ebnf", grammar: schemaGrammar(spec.schema, spec.layout) };
}

/** The built file, also when this one runs from its TypeScript source: a thread cannot run that. */
function threadFile(): URL {
  const isSource = import.meta.url.endsWith(".ts");
  return new URL(isSource ? "../../dist/grammar/grammar-thread.js" : "./grammar-thread.js", import.meta.url);
}

function refused(param: string, reason: string): MillraceError {
  const text = reason.endsWith(".") ? reason : `${reason}.`;
  return new MillraceError(
    "invalid_request",
    `The field ${param} cannot be compiled: ${text} Correct it, or make it simpler.`,
    {
      param,
    },
  );
}
