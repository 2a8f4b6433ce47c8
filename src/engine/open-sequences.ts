import { sharedNow } from "../base/clock.ts";
import type { EngineInfo, GenerateRequest, ScoreRequest } from "../protocol/engine-client.ts";
import { maxLogprobs } from "../protocol/sampling-params.ts";
import { noAdapters } from "./adapters/adapter-table.ts";
import { type AdmissionLimits, checkGenerateRequest, checkScoreRequest } from "./admission.ts";
import type { Arrival } from "./admission-control.ts";
import { ChannelMask } from "./channel-mask.ts";
import type { EngineCore } from "./engine-core.ts";
import { engineClosed } from "./open-requests.ts";
import { createSeedSource, type SeedSource } from "./seed-source.ts";
import { sequenceKinds } from "./sequence-table.ts";

export interface OpenSequencesOptions {
  readonly info: EngineInfo;
  /** Seed of the seeds for requests that bring none; null = the system's random source. */
  readonly seed: number | null;
  /** Called with the row of each new sequence. */
  readonly onOpen: (row: number) => void;
}

interface NewSequence {
  readonly handle: number;
  readonly kind: number;
  readonly tokenIds: readonly number[] | Int32Array;
  /** First scored position of a score. */
  readonly start?: number;
  readonly adapter: string | undefined;
}

/**
 * The sequences that are open, from admission to their end: gives each what it needs of every piece of the engine, and
 * takes it back however the sequence ends.
 */
export class OpenSequences {
  readonly #core: EngineCore;
  readonly #limits: AdmissionLimits;
  readonly #eosTokenIds: readonly number[];
  readonly #drawSeed: SeedSource;
  readonly #onOpen: (row: number) => void;
  /** Rows by the handle of their request. */
  readonly #rows = new Map<number, number>();
  readonly #expired = new Int32Array(16);

  constructor(core: EngineCore, { info, seed, onOpen }: OpenSequencesOptions) {
    const { maxModelLen, maxPositions, vocabSize, numTotalBlocks: numBlocks, blockSize, eosTokenIds } = info;
    this.#core = core;
    this.#limits = { maxModelLen, maxPositions, vocabSize, maxLogprobs, numBlocks, blockSize };
    this.#eosTokenIds = eosTokenIds;
    this.#drawSeed = createSeedSource(seed);
    this.#onOpen = onOpen;
  }

  get size(): number {
    return this.#rows.size;
  }

  handles(): Iterable<number> {
    return this.#rows.keys();
  }

  /** Errors: those of `checkGenerateRequest` and `AdmissionControl.check`; then nothing is held. */
  generate(handle: number, request: GenerateRequest, arrivalMs: number): void {
    const { admission, scheduler, sampler, stopRules, traces } = this.#core;
    const { sampling, scheduling, promptTokenIds } = request;
    checkGenerateRequest(request, this.#limits);
    const arrival = { numPromptTokens: promptTokenIds.length, scheduling, arrivalMs };
    admission.check(arrival, scheduler, sharedNow());
    const { adapter } = request;
    const sequence = { handle, kind: sequenceKinds.generate, tokenIds: promptTokenIds, adapter };
    this.#open(sequence, arrival, (row) => {
      sampler.admit(row, sampling, sampling.seed ?? this.#drawSeed(), this.#eosTokenIds);
      if (request.mask !== undefined) sampler.constrain(row, new ChannelMask(request.mask));
      stopRules.admit(row, sampling);
      traces.open(row, arrivalMs, request);
    });
  }

  /** Errors: those of `checkScoreRequest` and `AdmissionControl.check`; then nothing is held. */
  score(handle: number, request: ScoreRequest, arrivalMs: number): void {
    const { admission, scheduler, scores, traces } = this.#core;
    checkScoreRequest(request, this.#limits);
    const arrival = { numPromptTokens: request.tokenIds.length, scheduling: request.scheduling, arrivalMs };
    admission.check(arrival, scheduler, sharedNow());
    const { tokenIds, start, adapter } = request;
    this.#open({ handle, kind: sequenceKinds.score, tokenIds, start, adapter }, arrival, (row) => {
      scores.admit(row, request);
      traces.open(row, arrivalMs, {});
    });
  }

  /** Ends the sequence of a request that its client gave up, if it is open. */
  abort(handle: number): void {
    const row = this.#rows.get(handle);
    if (row === undefined) return;
    const { table, results, counters } = this.#core;
    if (table.kind[row] === sequenceKinds.score) results.fail(handle, engineClosed());
    else results.abort(row);
    table.traces.end(row, "abort");
    counters.add("numAborted", 1);
    this.#release(row);
  }

  /** Ends those whose deadline has passed. */
  endExpired(): void {
    const { table, admission, results, counters } = this.#core;
    for (let count = this.#expired.length; count === this.#expired.length; ) {
      count = admission.expired(sharedNow(), this.#expired);
      for (let index = 0; index < count; index += 1) {
        const row = this.#expired[index]!;
        const error = admission.deadlineError(row, table.numOutputTokens(row));
        counters.add("numExpired", 1);
        table.traces.end(row, "deadline");
        results.fail(table.handles[row]!, error);
        this.#release(row);
      }
    }
  }

  /** Lets go of those that ended in this step, once their last tokens are in the books. */
  endCompleted(): void {
    const { ended } = this.#core.results;
    for (const { row, error } of ended) {
      if (error === null) this.#finish(row);
      else this.#fail(row, error);
    }
    ended.length = 0;
  }

  /** Ends those of rows[0 … count) that are still open: their step failed. */
  failStep(rows: Int32Array, count: number, error: Error): void {
    const { table, kv, results } = this.#core;
    results.ended.length = 0;
    kv.distrustHost();
    for (let index = 0; index < count; index += 1) {
      const row = rows[index]!;
      if (table.handles[row] !== -1) this.#fail(row, error);
    }
  }

  /** Forgets all of them, because the books may be wrong. */
  clear(): void {
    this.#rows.clear();
  }

  /** Takes a row and lets `read` take the request in. A request that cannot be read gives the row back. */
  #open(sequence: NewSequence, arrival: Arrival, read: (row: number) => void): void {
    const { table, sampler, stopRules, scores, adapters } = this.#core;
    const { handle, kind, tokenIds, start, adapter } = sequence;
    if (adapters === null && adapter !== undefined) throw noAdapters(adapter);
    const row = table.open(handle, kind, tokenIds, start);
    try {
      read(row);
      adapters?.open(row, adapter);
    } catch (error) {
      sampler.release(row);
      stopRules.release(row);
      scores.release(row);
      table.close(row);
      throw error;
    }
    this.#enter(row, arrival);
  }

  #enter(row: number, arrival: Arrival): void {
    const { table, kv, admission, scheduler, adapters } = this.#core;
    const cacheSalt = arrival.scheduling?.cacheSalt;
    const adapter = adapters?.keyOf(row);
    kv.admit(row, {
      ...(cacheSalt === undefined ? {} : { cacheSalt }),
      ...(adapter === undefined ? {} : { adapter }),
    });
    admission.admit(row, arrival);
    this.#onOpen(row);
    this.#rows.set(table.handles[row]!, row);
    scheduler.add(row);
  }

  #finish(row: number): void {
    const { table, admission, counters } = this.#core;
    const { numPromptTokens, numCached } = table;
    const { estimate } = admission;
    counters.add("numFinished", 1);
    estimate.observePrompt(numPromptTokens[row]!, numCached[row]!);
    if (table.kind[row] === sequenceKinds.generate) estimate.observeAnswer(table.numOutputTokens(row));
    this.#release(row);
  }

  /** Ends a sequence whose content in the cache is not to be trusted. */
  #fail(row: number, error: Error): void {
    const { table, kv, results, counters } = this.#core;
    kv.distrust(row);
    counters.add("numFailed", 1);
    table.traces.end(row, "error");
    results.fail(table.handles[row]!, error);
    this.#release(row);
  }

  /** Gives back everything that a sequence holds. */
  #release(row: number): void {
    const { table, traces, results, sampler, stopRules, scores, scheduler, admission, adapters } = this.#core;
    const handle = table.handles[row]!;
    const trace = traces.close(row);
    if (trace !== null) results.explain(handle, trace);
    this.#rows.delete(handle);
    sampler.release(row);
    stopRules.release(row);
    scores.release(row);
    scheduler.remove(row);
    admission.release(row);
    adapters?.close(row);
  }
}
