import { MillraceError, messageOf } from "../base/errors.ts";
import { onAbort } from "../base/on-abort.ts";
import type {
  EngineOutput,
  GenerateRequest,
  RequestTrace,
  ScoreRequest,
  ScoreResult,
} from "../protocol/engine-client.ts";
import { OutputQueue } from "./output-queue.ts";
import { emptyScore } from "./score-table.ts";
import { readStep, type StepRecords } from "./step-record.ts";

/** Where a client hands its requests over: the engine itself, or the port to its thread. */
export interface EngineSink {
  generate(handle: number, request: GenerateRequest): void;
  score(handle: number, request: ScoreRequest): void;
  abort(handle: number): void;
}

/** What an engine sends back after a step. Errors and scores are rare, so they are objects. */
export interface StepMessage {
  readonly records: StepRecords;
  readonly scores: readonly { readonly handle: number; readonly result: ScoreResult }[];
  readonly failures: readonly { readonly handle: number; readonly error: Error }[];
  /** Of requests whose first token comes with this message: milliseconds from arrival to first step. */
  readonly starts: readonly { readonly handle: number; readonly queuedMs: number }[];
  /** Of requests that end with this message and asked for it. */
  readonly traces: readonly { readonly handle: number; readonly trace: RequestTrace }[];
}

export const emptyMessage: StepMessage = {
  records: { ints: new Int32Array(0), floats: new Float32Array(0) },
  scores: [],
  failures: [],
  starts: [],
  traces: [],
};

interface OpenScore {
  readonly resolve: (result: ScoreResult) => void;
  readonly reject: (reason: unknown) => void;
}

/** A client's side of all open requests: numbers them, and brings what comes back to whoever waits for it. */
export class OpenRequests {
  readonly #sink: EngineSink;
  readonly #handles = new Map<string, number>();
  readonly #queues = new Map<number, { readonly requestId: string; readonly queue: OutputQueue }>();
  readonly #scores = new Map<number, OpenScore>();
  #nextHandle = 0;
  /** Queues that the message just read brought something. */
  readonly #touched: OutputQueue[] = [];
  #failure: Error | null = null;

  constructor(sink: EngineSink) {
    this.#sink = sink;
  }

  get numOpen(): number {
    return this.#queues.size + this.#scores.size;
  }

  /** Bytes of the tokens that wait for readers of open requests. */
  get queuedBytes(): number {
    let sum = 0;
    for (const { queue } of this.#queues.values()) sum += queue.sizeBytes;
    return sum;
  }

  generate(request: GenerateRequest): AsyncIterable<EngineOutput> {
    const { requestId } = request;
    const queue = new OutputQueue(requestId, () => this.abort(requestId));
    if (this.#failure !== null) queue.fail(this.#failure);
    else if (this.#handles.has(requestId)) queue.fail(duplicateId(requestId));
    else {
      const handle = this.#takeHandle();
      this.#handles.set(requestId, handle);
      this.#queues.set(handle, { requestId, queue });
      try {
        this.#sink.generate(handle, request);
      } catch (error) {
        this.#forget(handle);
        queue.fail(error instanceof Error ? error : new Error(messageOf(error)));
      }
    }
    return queue;
  }

  async score(request: ScoreRequest, signal?: AbortSignal): Promise<ScoreResult> {
    if (this.#failure !== null) throw this.#failure;
    signal?.throwIfAborted();
    const { start, tokenIds } = request;
    if (start >= 1 && start === tokenIds.length) return emptyScore(request);
    const handle = this.#takeHandle();
    const ignore = onAbort(signal, () => {
      this.#sink.abort(handle);
      this.#scores.get(handle)?.reject(signal?.reason);
      this.#scores.delete(handle);
    });
    try {
      return await new Promise((resolve, reject) => {
        this.#scores.set(handle, { resolve, reject });
        this.#sink.score(handle, request);
      });
    } finally {
      this.#scores.delete(handle);
      ignore();
    }
  }

  abort(requestId: string): void {
    const handle = this.#handles.get(requestId);
    if (handle !== undefined) this.#sink.abort(handle);
  }

  receive(message: StepMessage): void {
    for (const { handle, queuedMs } of message.starts) this.#queues.get(handle)?.queue.start(queuedMs);
    for (const { handle, trace } of message.traces) this.#queues.get(handle)?.queue.explain(trace);
    readStep(message.records, (record) => {
      const queue = this.#queues.get(record.handle)?.queue;
      if (queue === undefined) return;
      queue.add(record);
      this.#touched.push(queue);
      if (record.finishReason !== null) this.#forget(record.handle);
    });
    // A step that brought several tokens to one request is one output.
    for (const queue of this.#touched) queue.deliver();
    this.#touched.length = 0;
    for (const { handle, result } of message.scores) {
      this.#scores.get(handle)?.resolve(result);
      this.#scores.delete(handle);
    }
    for (const { handle, error } of message.failures) {
      this.#queues.get(handle)?.queue.fail(error);
      this.#scores.get(handle)?.reject(error);
      this.#scores.delete(handle);
      this.#forget(handle);
    }
  }

  /** Rejects everything that is open, and everything that comes later. */
  failAll(error: Error): void {
    if (this.#failure !== null) return;
    this.#failure = error;
    for (const { queue } of this.#queues.values()) queue.fail(error);
    for (const { reject } of this.#scores.values()) reject(error);
    this.#queues.clear();
    this.#handles.clear();
    this.#scores.clear();
  }

  #forget(handle: number): void {
    const open = this.#queues.get(handle);
    if (open === undefined) return;
    this.#queues.delete(handle);
    this.#handles.delete(open.requestId);
  }

  /** Handles stay within an int32; none is open for two billion requests. */
  #takeHandle(): number {
    const handle = this.#nextHandle;
    this.#nextHandle = (handle + 1) % 0x7fffffff;
    return handle;
  }
}

function duplicateId(requestId: string): MillraceError {
  return new MillraceError(
    "invalid_request",
    `Request id "${requestId}" is already open. Ids must be unique among open requests; give this one another.`,
    { param: "request_id" },
  );
}

/** The error of requests that meet a closed engine. */
export function engineClosed(): MillraceError {
  return new MillraceError(
    "engine_closed",
    "The engine is closed. It takes no more requests; start a new one.",
  );
}
