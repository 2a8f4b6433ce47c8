import { type ResourceLimits, type Transferable, Worker } from "node:worker_threads";
import { definedOnly } from "../base/defined-only.ts";
import { fromWire, MillraceError, messageOf } from "../base/errors.ts";
import type { EngineClient } from "../protocol/engine-client.ts";
import { RemoteAdapters } from "./adapters/adapter-host.ts";
import { type EmbeddingSink, embeddingsOnly, noEmbeddings, OpenTexts } from "./embedding/embedding-client.ts";
import type { EngineOptions } from "./engine-options.ts";
import { counterBytes, EngineCounters } from "./engine-stats.ts";
import { type EngineSink, engineClosed, OpenRequests } from "./open-requests.ts";
import { checkTokenIds } from "./request-faults.ts";
import {
  fromWireEmbeddings,
  fromWireStep,
  type Recent,
  type RecentKind,
  type WorkerCommand,
  type WorkerReport,
  type WorkerStart,
} from "./worker-messages.ts";

/**
 * What lives longer than a step in the engine's thread is allocated at its start. With the 48 MB that V8 would give to
 * young objects, most of what the thread holds would be garbage that waits.
 */
const resourceLimits: ResourceLimits = { maxYoungGenerationSizeMb: 6 };

/** An engine whose thread loads it. The promises reject with the load's own error. */
export interface StartingEngine {
  /** The memory plan, line by line for people, before any of it is taken. */
  readonly plan: Promise<readonly string[]>;
  /** The engine, loaded. */
  readonly client: Promise<EngineClient>;
  /** Resolves when the thread has ended, however it came to that. */
  readonly exited: Promise<void>;
  /** Ends the thread, wherever it is in its load. */
  stop(): Promise<void>;
}

/**
 * Starts an engine in a thread of its own. If the thread dies, all open requests and all later ones are rejected with
 * `engine_failed` and the cause.
 */
export function startEngine(options: EngineOptions): StartingEngine {
  const counters = new SharedArrayBuffer(counterBytes);
  const workerData: WorkerStart = { options, counters };
  const worker = new Worker(workerFile(), { workerData, resourceLimits });
  const plan = loadReport(worker, "planned").then(({ lines }) => lines);
  const client = loadReport(worker, "ready").then((ready) =>
    connect(worker, ready, new EngineCounters(counters)),
  );
  // Whoever waits for one of them only must not fail for the other.
  for (const promise of [plan, client]) promise.catch(() => {});
  const exited = new Promise<void>((resolve) => worker.once("exit", () => resolve()));
  const stop = async (): Promise<void> => void (await worker.terminate());
  return { plan, client, exited, stop };
}

/** As `startEngine`, for those who only need the engine. */
export function startEngineWorker(options: EngineOptions): Promise<EngineClient> {
  return startEngine(options).client;
}

/** The built file, also when this one runs from its TypeScript source: a worker cannot run that. */
function workerFile(): URL {
  const isSource = import.meta.url.endsWith(".ts");
  return new URL(isSource ? "../../dist/engine/engine-worker.js" : "./engine-worker.js", import.meta.url);
}

type LoadReport<Kind> = Extract<WorkerReport, { readonly kind: Kind }>;

/** Waits for what the thread says while it loads. */
function loadReport<Kind extends "planned" | "ready">(worker: Worker, kind: Kind): Promise<LoadReport<Kind>> {
  return new Promise((resolve, reject) => {
    const release = (): void => {
      worker.off("error", fail);
      worker.off("exit", exit);
      worker.off("message", read);
    };
    const fail = (cause: unknown): void => reject(workerDied("while loading", cause));
    const exit = (code: number): void => fail(new Error(`exit code ${code}`));
    const read = (report: WorkerReport): void => {
      if (report.kind === kind) resolve(report as LoadReport<Kind>);
      else if (report.kind === "refused") reject(fromWire(report.error));
      else return;
      release();
    };
    worker.on("error", fail);
    worker.on("exit", exit);
    worker.on("message", read);
  });
}

function connect(
  worker: Worker,
  { info, adapters: hosted }: LoadReport<"ready">,
  counters: EngineCounters,
): EngineClient {
  const adapters =
    hosted === null
      ? null
      : new RemoteAdapters(hosted, (change) => post(worker, { kind: "adapter", change }));
  const open = new OpenRequests(commandSink(worker, info.vocabSize));
  const texts = new OpenTexts(textSink(worker, info.vocabSize));
  const questions = new RecentQuestions((what) => post(worker, { kind: "recent", what }));
  let isClosing = false;
  let hasExited = false;
  let failure: MillraceError = engineClosed();
  const exited = new Promise<void>((resolve) => {
    worker.once("exit", (code) => {
      hasExited = true;
      // A thread that died in a step can no longer say that it stands still, and that nothing waits.
      counters.set("isBusy", 0);
      counters.set("retryAfterSeconds", 0);
      failure = isClosing ? engineClosed() : workerDied("", new Error(`exit code ${code}`));
      open.failAll(failure);
      texts.failAll(failure);
      adapters?.failAll(failure);
      questions.failAll(failure);
      resolve();
    });
  });
  worker.on("error", (cause) => {
    open.failAll(workerDied("", cause));
    texts.failAll(workerDied("", cause));
  });
  worker.on("message", (report: WorkerReport) => {
    if (report.kind === "step") open.receive(fromWireStep(report));
    else if (report.kind === "embedded") texts.receive(fromWireEmbeddings(report));
    else if (report.kind === "adapter") adapters?.receive(report.answer);
    else if (report.kind === "recent") questions.receive(report.items);
  });
  const isEmbedding = info.embeddingSize !== null;
  return {
    info,
    embed: (request, signal) =>
      isEmbedding ? texts.embed(request, signal) : Promise.reject(noEmbeddings(info.architecture)),
    generate: (request) => open.generate(request),
    score: (request, signal) => open.score(request, signal),
    abort: (requestId) => open.abort(requestId),
    // Counters outlive their thread: they must not make a dead engine look well.
    stats: () => (hasExited ? Promise.reject(failure) : Promise.resolve(counters.read())),
    recentSteps: () => questions.ask("steps"),
    recentRequests: () => questions.ask("requests"),
    resetPrefixCache: () => post(worker, { kind: "reset" }),
    adapters,
    close: async () => {
      if (!isClosing && !hasExited) post(worker, { kind: "close" });
      isClosing = true;
      await exited;
    },
    ...(isEmbedding ? embeddingsOnly(info.architecture, counters) : {}),
  };
}

interface Question {
  readonly resolve: (items: Recent[RecentKind]) => void;
  readonly reject: (error: Error) => void;
}

/** Questions about recent steps and requests, answered in order. */
class RecentQuestions {
  readonly #post: (what: RecentKind) => void;
  readonly #open: Question[] = [];
  #failure: Error | null = null;

  constructor(post: (what: RecentKind) => void) {
    this.#post = post;
  }

  ask<Kind extends RecentKind>(what: Kind): Promise<Recent[Kind]> {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#open.push({ resolve: (items) => resolve(items as Recent[Kind]), reject });
      this.#post(what);
    });
  }

  receive(items: Recent[RecentKind]): void {
    this.#open.shift()?.resolve(items);
  }

  /** Rejects what is open, and everything that comes later. */
  failAll(error: Error): void {
    this.#failure ??= error;
    for (const { reject } of this.#open.splice(0)) reject(error);
  }
}

function commandSink(worker: Worker, vocabSize: number): EngineSink {
  return {
    generate: (handle, request) => {
      const promptTokenIds = copyOfIds(request.promptTokenIds, "prompt", vocabSize);
      // Fields of the protocol and no others: a request may be part of a larger object that cannot be cloned.
      const { requestId, sampling, scheduling, mask, explain = false, adapter } = request;
      const own = {
        requestId,
        promptTokenIds,
        sampling,
        explain,
        ...definedOnly({ scheduling, mask, adapter }),
      };
      const command: WorkerCommand = { kind: "generate", handle, request: own };
      post(worker, command, [promptTokenIds.buffer, ...(mask === undefined ? [] : [mask.port])]);
    },
    score: (handle, request) => {
      const tokenIds = copyOfIds(request.tokenIds, "tokenIds", vocabSize);
      const { start, topK, scheduling, adapter } = request;
      const own = { tokenIds, start, topK, ...definedOnly({ scheduling, adapter }) };
      post(worker, { kind: "score", handle, request: own }, [tokenIds.buffer]);
    },
    abort: (handle) => post(worker, { kind: "abort", handle }),
  };
}

/** The ids in an array to give away, which turns what is no whole number into one. Errors: `invalid_request`. */
function copyOfIds(
  ids: readonly number[] | Int32Array,
  param: string,
  vocabSize: number,
): Int32Array<ArrayBuffer> {
  checkTokenIds(ids, param, vocabSize);
  return Int32Array.from(ids);
}

function textSink(worker: Worker, vocabSize: number): EmbeddingSink {
  return {
    embed: (handle, request) => {
      const tokenIds = copyOfIds(request.tokenIds, "input", vocabSize);
      post(worker, { kind: "embed", handle, request: { tokenIds } }, [tokenIds.buffer]);
    },
    abort: (handle) => post(worker, { kind: "abort", handle }),
  };
}

function post(worker: Worker, command: WorkerCommand, transfer: Transferable[] = []): void {
  worker.postMessage(command, transfer);
}

function workerDied(when: string, cause: unknown): MillraceError {
  return new MillraceError(
    "engine_failed",
    `The engine's thread died${when === "" ? "" : ` ${when}`}: ${messageOf(cause)}. Restart it and report this with the log.`,
    { cause },
  );
}
