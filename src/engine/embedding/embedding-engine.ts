import { setImmediate as nextTurn } from "node:timers/promises";
import { sharedNow } from "../../base/clock.ts";
import { MillraceError, messageOf } from "../../base/errors.ts";
import type { KvCache, Ops, RaggedBatch } from "../../kernels/ops.ts";
import { type EncoderModel, type Pooling, poolRows } from "../../model/encoder-model.ts";
import type { EmbedRequest, EngineInfo } from "../../protocol/engine-client.ts";
import { EngineCounters } from "../engine-stats.ts";
import { checkTokenIds, invalidRequest, notFinite } from "../request-faults.ts";

/** What a step of an embedding engine gave. */
export interface EmbeddingMessage {
  readonly vectors: readonly { readonly handle: number; readonly vector: Float32Array }[];
  readonly failures: readonly { readonly handle: number; readonly error: Error }[];
}

export interface EmbeddingParts {
  readonly ops: Ops;
  readonly model: EncoderModel;
  readonly pooling: Pooling;
  readonly info: EngineInfo;
  /** Holds all tokens of a step; its content lives for one layer. */
  readonly cache: KvCache;
  readonly counters?: EngineCounters;
}

interface Waiting {
  readonly handle: number;
  readonly tokenIds: Int32Array;
}

/**
 * Runs an encoder over the texts that wait, in order of arrival, as many whole texts a step as fit. A text's vector
 * does not depend on those beside it. One bad text never stops the others; while nothing waits, nothing runs.
 */
export class EmbeddingEngine {
  readonly info: EngineInfo;
  readonly counters: EngineCounters;
  readonly #parts: EmbeddingParts;
  #waiting: Waiting[] = [];
  #receive: (message: EmbeddingMessage) => void = () => {};
  #loop: Promise<void> | null = null;
  #isClosed = false;

  constructor(parts: EmbeddingParts) {
    this.#parts = parts;
    this.info = parts.info;
    this.counters = parts.counters ?? new EngineCounters();
    this.counters.set("numTotalBlocks", parts.cache.numBlocks);
    this.counters.set("numFreeBlocks", parts.cache.numBlocks);
    this.counters.set("blockSize", parts.cache.blockSize);
  }

  /** Sets who gets what steps give. */
  connect(receive: (message: EmbeddingMessage) => void): void {
    this.#receive = receive;
  }

  embed(handle: number, request: EmbedRequest): void {
    const tokenIds = Int32Array.from(request.tokenIds);
    const error = this.#isClosed ? closedError() : this.#findFault(tokenIds);
    if (error !== null) {
      this.counters.add("numRefused", 1);
      this.#receive({ vectors: [], failures: [{ handle, error }] });
      return;
    }
    this.#waiting.push({ handle, tokenIds });
    this.#countWaiting();
    this.#loop ??= this.#run();
  }

  /** Gives a text up that still waits. */
  abort(handle: number): void {
    const before = this.#waiting.length;
    this.#waiting = this.#waiting.filter((waiting) => waiting.handle !== handle);
    this.counters.add("numAborted", before - this.#waiting.length);
    this.#countWaiting();
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const failures = this.#waiting.map(({ handle }) => ({ handle, error: closedError() }));
    this.#waiting = [];
    if (failures.length > 0) this.#receive({ vectors: [], failures });
    await this.#loop;
    this.#parts.ops.close();
  }

  #findFault(tokenIds: Int32Array): Error | null {
    const { maxModelLen, maxPositions, vocabSize, maxNumQueuedRequests, maxNumQueuedTokens } = this.info;
    if (this.#waiting.length >= maxNumQueuedRequests) {
      return queueFull(`${this.#waiting.length} texts`, maxNumQueuedRequests, "--max-num-queued-reqs");
    }
    const numTokens = this.counters.get("numWaitingTokens");
    if (maxNumQueuedTokens > 0 && numTokens > 0 && numTokens + tokenIds.length > maxNumQueuedTokens) {
      return queueFull(`${numTokens} tokens`, maxNumQueuedTokens, "--max-num-queued-tokens");
    }
    if (tokenIds.length === 0) return invalidRequest("input", "The text has no tokens. Send some text.");
    if (tokenIds.length > maxModelLen) {
      const more =
        tokenIds.length <= maxPositions ? `, or start with --max-model-len ${tokenIds.length} or more` : "";
      return new MillraceError(
        "context_length_exceeded",
        `This model's maximum context length is ${maxModelLen} tokens. The text has ${tokenIds.length}. Shorten or split it${more}.`,
        { param: "input" },
      );
    }
    try {
      checkTokenIds(tokenIds, "input", vocabSize);
      return null;
    } catch (error) {
      return asError(error);
    }
  }

  /** Steps until nothing waits, with one turn of the event loop between steps so that requests arrive. */
  async #run(): Promise<void> {
    this.counters.set("lastStepEndMs", sharedNow());
    this.counters.set("isBusy", 1);
    do {
      await nextTurn();
      const texts = this.#takeTexts();
      if (texts.length === 0) break;
      this.counters.set("numRunning", texts.length);
      this.#step(texts);
      this.counters.set("numRunning", 0);
      this.counters.set("lastStepEndMs", sharedNow());
    } while (this.#waiting.length > 0);
    this.counters.set("isBusy", 0);
    this.#loop = null;
    if (this.#waiting.length > 0) this.#loop = this.#run();
  }

  /** The texts of the next step: the first one always fits. */
  #takeTexts(): Waiting[] {
    const { maxNumSeqs, maxNumBatchedTokens } = this.info;
    let numTokens = 0;
    let count = 0;
    for (const { tokenIds } of this.#waiting) {
      if (count > 0 && (count === maxNumSeqs || numTokens + tokenIds.length > maxNumBatchedTokens)) break;
      numTokens += tokenIds.length;
      count += 1;
    }
    const texts = this.#waiting.splice(0, count);
    this.#countWaiting();
    return texts;
  }

  #step(texts: readonly Waiting[]): void {
    const { ops, model, cache } = this.#parts;
    const batch = wholeTexts(texts, cache.blockSize);
    this.counters.addStep(texts.reduce((sum, { tokenIds }) => sum + tokenIds.length, 0));
    let hidden: Float32Array;
    ops.beginStep(batch);
    try {
      const last = model.forward(batch, cache);
      hidden = new Float32Array(last.rows * last.cols);
      ops.read(last, hidden);
    } catch (cause) {
      const error = new MillraceError(
        "engine_failed",
        `A step failed: ${messageOf(cause)}. The texts in it have ended; others go on. Report this with the log.`,
        { cause },
      );
      this.counters.add("numFailed", texts.length);
      this.#receive({ vectors: [], failures: texts.map(({ handle }) => ({ handle, error })) });
      return;
    } finally {
      ops.endStep();
    }
    this.counters.add("promptTokens", batch.numTokens);
    this.#publish(texts, batch, hidden);
  }

  #publish(texts: readonly Waiting[], batch: RaggedBatch, hidden: Float32Array): void {
    const { model, pooling } = this.#parts;
    const vectors: { handle: number; vector: Float32Array }[] = [];
    const failures: { handle: number; error: Error }[] = [];
    for (const [index, { handle, tokenIds }] of texts.entries()) {
      const vector = new Float32Array(model.hiddenSize);
      poolRows(hidden, { first: batch.queryStarts[index]!, count: tokenIds.length }, pooling, vector);
      if (vector.every(Number.isFinite)) vectors.push({ handle, vector });
      else failures.push({ handle, error: notFinite("vector") });
    }
    this.counters.add("numFinished", vectors.length);
    this.counters.add("numFailed", failures.length);
    this.#receive({ vectors, failures });
  }

  #countWaiting(): void {
    this.counters.set("numWaiting", this.#waiting.length);
    const numTokens = this.#waiting.reduce((sum, { tokenIds }) => sum + tokenIds.length, 0);
    this.counters.set("numWaitingTokens", numTokens);
  }
}

/** A batch of whole sequences, each from position 0 and in blocks of its own. */
function wholeTexts(texts: readonly Waiting[], blockSize: number): RaggedBatch {
  const lengths = texts.map(({ tokenIds }) => tokenIds.length);
  const numTokens = lengths.reduce((sum, length) => sum + length, 0);
  const stride = Math.ceil(Math.max(...lengths) / blockSize);
  const batch: RaggedBatch = {
    numTokens,
    numSeqs: texts.length,
    tokenIds: new Int32Array(numTokens),
    positions: new Int32Array(numTokens),
    slots: new Int32Array(numTokens),
    queryStarts: new Int32Array(texts.length + 1),
    contextLengths: Int32Array.from(lengths),
    blockTables: new Int32Array(texts.length * stride),
    blockTableStride: stride,
  };
  let token = 0;
  let block = 0;
  for (const [index, { tokenIds }] of texts.entries()) {
    batch.tokenIds.set(tokenIds, token);
    for (let position = 0; position < tokenIds.length; position += 1, token += 1) {
      batch.positions[token] = position;
      batch.slots[token] = block * blockSize + position;
    }
    const numBlocks = Math.ceil(tokenIds.length / blockSize);
    for (let i = 0; i < numBlocks; i += 1) batch.blockTables[index * stride + i] = block + i;
    block += numBlocks;
    batch.queryStarts[index + 1] = token;
  }
  return batch;
}

/** Blocks that hold a step's texts, each of which may leave a part of a block empty. */
export function blocksOfStep(
  { maxNumBatchedTokens, maxNumSeqs }: Pick<EngineInfo, "maxNumBatchedTokens" | "maxNumSeqs">,
  blockSize: number,
): number {
  return Math.ceil(maxNumBatchedTokens / blockSize) + maxNumSeqs;
}

function queueFull(waiting: string, limit: number, flag: string): MillraceError {
  return new MillraceError(
    "engine_overloaded",
    `${waiting} wait; at most ${limit} may. Try again later, or start with a larger ${flag}.`,
    { retryAfterSeconds: 1 },
  );
}

function closedError(): MillraceError {
  return new MillraceError(
    "engine_closed",
    "The engine is closed. It takes no more requests; start a new one.",
  );
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(messageOf(error));
}
