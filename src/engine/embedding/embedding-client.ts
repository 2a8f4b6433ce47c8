import { MillraceError } from "../../base/errors.ts";
import { onAbort } from "../../base/on-abort.ts";
import type { EmbedRequest, EngineClient, EngineOutput } from "../../protocol/engine-client.ts";
import type { EngineCounters } from "../engine-stats.ts";
import type { EmbeddingEngine, EmbeddingMessage } from "./embedding-engine.ts";

/** Where a client hands its texts over: the engine itself, or the port to its thread. */
export interface EmbeddingSink {
  embed(handle: number, request: EmbedRequest): void;
  abort(handle: number): void;
}

interface Open {
  readonly resolve: (vector: Float32Array) => void;
  readonly reject: (reason: unknown) => void;
}

/** A client's side of all open texts. */
export class OpenTexts {
  readonly #sink: EmbeddingSink;
  readonly #open = new Map<number, Open>();
  #nextHandle = 0;
  #failure: Error | null = null;

  constructor(sink: EmbeddingSink) {
    this.#sink = sink;
  }

  async embed(request: EmbedRequest, signal?: AbortSignal): Promise<Float32Array> {
    if (this.#failure !== null) throw this.#failure;
    signal?.throwIfAborted();
    const handle = this.#nextHandle;
    this.#nextHandle = (handle + 1) % 0x7fffffff;
    const ignore = onAbort(signal, () => {
      this.#sink.abort(handle);
      this.#take(handle)?.reject(signal?.reason);
    });
    try {
      return await new Promise((resolve, reject) => {
        this.#open.set(handle, { resolve, reject });
        this.#sink.embed(handle, request);
      });
    } finally {
      this.#open.delete(handle);
      ignore();
    }
  }

  receive({ vectors, failures }: EmbeddingMessage): void {
    for (const { handle, vector } of vectors) this.#take(handle)?.resolve(vector);
    for (const { handle, error } of failures) this.#take(handle)?.reject(error);
  }

  /** Rejects everything that is open, and everything that comes later. */
  failAll(error: Error): void {
    this.#failure ??= error;
    for (const { reject } of this.#open.values()) reject(this.#failure);
    this.#open.clear();
  }

  #take(handle: number): Open | undefined {
    const open = this.#open.get(handle);
    this.#open.delete(handle);
    return open;
  }
}

/** A client of an embedding engine in the caller's own thread, for tests and tools. */
export function createInProcessEmbeddingClient(engine: EmbeddingEngine): EngineClient {
  const open = new OpenTexts(engine);
  engine.connect((message) => open.receive(message));
  return {
    info: engine.info,
    embed: (request, signal) => open.embed(request, signal),
    ...embeddingsOnly(engine.info.architecture, engine.counters),
    close: () => engine.close(),
  };
}

/** What a client of an embedding engine answers to everything else. */
export function embeddingsOnly(
  architecture: string,
  counters: EngineCounters,
): Omit<EngineClient, "info" | "embed" | "close"> {
  const error = (): MillraceError =>
    new MillraceError(
      "invalid_request",
      `This model (${architecture}) makes embeddings and no text. Ask POST /v1/embeddings, or another model.`,
      { param: "model" },
    );
  return {
    generate: () => failing(error()),
    score: () => Promise.reject(error()),
    abort: () => {},
    stats: () => Promise.resolve(counters.read()),
    recentSteps: () => Promise.resolve([]),
    recentRequests: () => Promise.resolve([]),
    resetPrefixCache: () => {},
    adapters: null,
  };
}

/** The error of a text that meets a language model. */
export function noEmbeddings(architecture: string): MillraceError {
  return new MillraceError(
    "invalid_request",
    `This model (${architecture}) makes text and no embeddings. Ask an embedding model such as a BertModel.`,
    { param: "model" },
  );
}

function failing(error: Error): AsyncIterable<EngineOutput> {
  return { [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(error) }) };
}
