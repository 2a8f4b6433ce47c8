import { MillraceError, messageOf } from "../base/errors.ts";
import { invariant } from "../base/invariant.ts";
import type { KvCache, Ops } from "../kernels/ops.ts";
import type { CausalModel } from "../model/causal-model.ts";
import type { EngineInfo, GenerateRequest, ScoreRequest, ScoreResult } from "../protocol/engine-client.ts";
import { maxLogprobs } from "../protocol/sampling-params.ts";
import { type AdmissionLimits, checkGenerateRequest, checkQueue, checkScoreRequest } from "./admission.ts";
import { BlockPool } from "./block-pool.ts";
import { EngineCounters, sharedNow } from "./engine-stats.ts";
import { ModelRunner } from "./model-runner.ts";
import type { EngineSink, StepMessage } from "./open-requests.ts";
import { Sampler } from "./sampler.ts";
import { Scheduler, type StepPlan } from "./scheduler.ts";
import { FcfsPolicy } from "./scheduling-policy.ts";
import { ScoreTable } from "./score-table.ts";
import { createSeedSource, type SeedSource } from "./seed-source.ts";
import { SequenceTable, sequenceKinds } from "./sequence-table.ts";
import { type DrawnLogprobs, endedByAbort, StepWriter } from "./step-record.ts";
import { StopRules } from "./stop-rules.ts";

export interface EngineParts {
  readonly ops: Ops;
  readonly model: CausalModel;
  readonly cache: KvCache;
  readonly info: EngineInfo;
  readonly longPrefillTokenThreshold: number;
  readonly maxNumQueuedRequests: number;
  /** Seed of the seeds for requests that bring none; null = the system's random source. */
  readonly seed: number | null;
  /** Where the figures go; default an array of its own. */
  readonly counters?: EngineCounters;
}

type Command =
  | { readonly kind: "generate"; readonly handle: number; readonly request: GenerateRequest }
  | { readonly kind: "score"; readonly handle: number; readonly request: ScoreRequest }
  | { readonly kind: "abort"; readonly handle: number };

/**
 * Runs all open requests of one model, step by step. Commands wait in an inbox that is read between steps. One bad
 * request never stops the others. While nothing is open, nothing runs.
 */
export class Engine implements EngineSink {
  readonly info: EngineInfo;
  readonly counters: EngineCounters;
  readonly #ops: Ops;
  readonly #limits: AdmissionLimits;
  readonly #pool: BlockPool;
  readonly #table: SequenceTable;
  readonly #scheduler: Scheduler;
  readonly #sampler: Sampler;
  readonly #stopRules: StopRules;
  readonly #scoreTable: ScoreTable;
  readonly #runner: ModelRunner;
  readonly #drawSeed: SeedSource;
  readonly #rows = new Map<number, number>();
  readonly #writer = new StepWriter();
  /** Filled again for each token with log-probabilities. */
  readonly #drawn: { -readonly [Key in keyof DrawnLogprobs]: DrawnLogprobs[Key] };
  #onMessage: (message: StepMessage) => void = () => {};
  #inbox: Command[] = [];
  #scores: { handle: number; result: ScoreResult }[] = [];
  #failures: { handle: number; error: Error }[] = [];
  #loop: Promise<void> | null = null;
  /** Set when the engine takes nothing more: closed, or broken by a fault of its own. */
  #end: Error | null = null;
  #isClosed = false;

  constructor(parts: EngineParts) {
    const { ops, info, model, cache } = parts;
    const { maxNumSeqs, maxNumBatchedTokens, maxModelLen, blockSize } = info;
    const limits = {
      maxNumSeqs,
      maxNumBatchedTokens,
      longPrefillTokenThreshold: parts.longPrefillTokenThreshold,
    };
    this.info = info;
    this.counters = parts.counters ?? new EngineCounters();
    this.#ops = ops;
    this.#limits = {
      maxModelLen,
      vocabSize: info.vocabSize,
      maxLogprobs,
      numBlocks: cache.numBlocks,
      blockSize,
      maxNumQueuedRequests: parts.maxNumQueuedRequests,
    };
    this.#pool = new BlockPool(cache.numBlocks);
    // Waiting ones are bounded by the queue; running ones, and preempted ones that wait again, by maxNumSeqs.
    const table = new SequenceTable(parts.maxNumQueuedRequests + maxNumSeqs, blockSize);
    this.#table = table;
    this.#scheduler = new Scheduler(limits, table, this.#pool, new FcfsPolicy(table.capacity));
    this.#sampler = new Sampler(ops, table, maxNumSeqs, maxLogprobs);
    this.#stopRules = new StopRules(table, info.eosTokenIds);
    this.#scoreTable = new ScoreTable(table.capacity);
    const { output } = this.#sampler;
    this.#drawn = { ...output, logprob: 0, rank: 0, numTop: 0, topStart: 0 };
    this.#runner = new ModelRunner({
      ops,
      model,
      cache,
      table,
      sampler: this.#sampler,
      scores: this.#scoreTable,
      limits,
      maxModelLen,
    });
    this.#drawSeed = createSeedSource(parts.seed);
    this.counters.set("numTotalBlocks", cache.numBlocks);
    this.counters.set("blockSize", blockSize);
    this.#countState();
  }

  /** Sets who gets what steps publish: at most one message per step. */
  connect(receive: (message: StepMessage) => void): void {
    this.#onMessage = receive;
  }

  generate(handle: number, request: GenerateRequest): void {
    this.#take({ kind: "generate", handle, request });
  }

  score(handle: number, request: ScoreRequest): void {
    this.#take({ kind: "score", handle, request });
  }

  abort(handle: number): void {
    this.#take({ kind: "abort", handle });
  }

  /** One iteration: choose tokens, run the model on them, draw, publish. Never throws for one bad request. */
  async step(): Promise<void> {
    this.#readInbox();
    const plan = this.#scheduler.schedule();
    if (plan.numSeqs > 0) {
      try {
        await this.#runner.run(plan);
        this.#scheduler.commit(plan);
        this.#collectTokens();
        this.#collectScores(plan);
      } catch (cause) {
        this.#failStep(plan, cause);
      }
      this.counters.add("numSteps", 1);
    }
    this.#publish();
  }

  /** Aborts what is open, frees everything and releases the backend. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const handle of this.#rows.keys()) this.abort(handle);
    for (const { kind, handle } of this.#inbox) if (kind !== "abort") this.abort(handle);
    this.#end ??= new MillraceError("engine_closed", "The engine is closed. Start a new one.");
    await this.#loop;
    this.#ops.close();
  }

  /** Walks the pool and the rows and checks that they agree; for tests. */
  checkInvariants(): void {
    this.#pool.check();
    invariant(this.#rows.size === this.#table.numOpen, "open requests and rows of the table differ");
    invariant(
      this.#rows.size > 0 || this.#pool.numFree === this.#pool.numBlocks,
      "idle, but blocks are held",
    );
  }

  #take(command: Command): void {
    if (this.#end === null) {
      this.#inbox.push(command);
      this.#loop ??= this.#run();
    } else if (command.kind !== "abort") {
      this.#onMessage({ ...nothing, failures: [{ handle: command.handle, error: this.#end }] });
    }
  }

  /** Steps until nothing is open, with one turn of the event loop between steps so that commands arrive. */
  async #run(): Promise<void> {
    this.counters.set("lastStepEndMs", sharedNow());
    this.counters.set("isBusy", 1);
    try {
      do {
        await nextTurn();
        await this.step();
        this.counters.set("lastStepEndMs", sharedNow());
      } while (this.#inbox.length + this.#rows.size > 0);
    } catch (cause) {
      this.#break(cause);
    } finally {
      this.counters.set("isBusy", 0);
      this.#loop = null;
    }
  }

  #readInbox(): void {
    const commands = this.#inbox;
    this.#inbox = [];
    for (const command of commands) {
      const { handle } = command;
      try {
        if (command.kind === "abort") this.#abort(handle);
        else if (command.kind === "generate") this.#admitGenerate(handle, command.request);
        else this.#admitScore(handle, command.request);
      } catch (error) {
        this.#failures.push({ handle, error: asError(error) });
      }
    }
  }

  #admitGenerate(handle: number, request: GenerateRequest): void {
    const { sampling } = request;
    checkGenerateRequest(request, this.#limits);
    checkQueue(this.#scheduler.numWaiting, this.#limits);
    const row = this.#table.open(handle, sequenceKinds.generate, request.promptTokenIds);
    this.#sampler.admit(row, sampling, sampling.seed ?? this.#drawSeed(), this.info.eosTokenIds);
    this.#stopRules.admit(row, sampling);
    this.#rows.set(handle, row);
    this.#scheduler.add(row);
  }

  #admitScore(handle: number, request: ScoreRequest): void {
    checkScoreRequest(request, this.#limits);
    checkQueue(this.#scheduler.numWaiting, this.#limits);
    const row = this.#table.open(handle, sequenceKinds.score, request.tokenIds);
    this.#scoreTable.admit(row, request);
    this.#rows.set(handle, row);
    this.#scheduler.add(row);
  }

  #abort(handle: number): void {
    const row = this.#rows.get(handle);
    if (row === undefined) return;
    if (this.#table.kind[row] === sequenceKinds.score) this.#failures.push({ handle, error: aborted() });
    else this.#writer.end(handle, this.#table.numCached[row]!, endedByAbort);
    this.counters.add("numAborted", 1);
    this.#release(row);
  }

  /** Appends each drawn token to its sequence and ends those that are complete. */
  #collectTokens(): void {
    const { numSampled, sampledRows } = this.#runner;
    const { output } = this.#sampler;
    for (let index = 0; index < numSampled; index += 1) {
      const row = sampledRows[index]!;
      if (Number.isNaN(output.logprobs[index]!)) {
        this.#fail(row, notFinite());
        continue;
      }
      const tokenId = output.tokenIds[index]!;
      if (this.#table.numOutputTokens(row) === 0)
        this.counters.add("promptTokens", this.#table.numPromptTokens[row]!);
      this.counters.add("generationTokens", 1);
      this.#table.append(row, tokenId);
      const end = this.#stopRules.endOf(row, tokenId);
      const handle = this.#table.handles[row]!;
      this.#writer.token(handle, tokenId, this.#table.numCached[row]!, end, this.#drawnLogprobs(row, index));
      if (end.finishReason !== null) this.#finish(row);
    }
  }

  #drawnLogprobs(row: number, index: number): DrawnLogprobs | null {
    const numTop = this.#table.numLogprobs[row]!;
    if (numTop < 0) return null;
    const drawn = this.#drawn;
    drawn.logprob = this.#sampler.output.logprobs[index]!;
    drawn.rank = this.#sampler.output.ranks[index]!;
    drawn.numTop = numTop;
    drawn.topStart = index * maxLogprobs;
    return drawn;
  }

  #collectScores(plan: StepPlan): void {
    const table = this.#table;
    for (let index = 0; index < plan.numSeqs; index += 1) {
      const row = plan.rows[index]!;
      if (table.kind[row] !== sequenceKinds.score || table.numComputed[row] !== table.numTarget[row])
        continue;
      const result = this.#scoreTable.result(row);
      if (result.logprobs.some(Number.isNaN)) {
        this.#fail(row, notFinite());
        continue;
      }
      this.counters.add("promptTokens", table.numPromptTokens[row]!);
      this.#scores.push({ handle: table.handles[row]!, result });
      this.#finish(row);
    }
  }

  #publish(): void {
    this.#countState();
    if (this.#writer.isEmpty && this.#scores.length + this.#failures.length === 0) return;
    const message = { records: this.#writer.take(), scores: this.#scores, failures: this.#failures };
    this.#scores = [];
    this.#failures = [];
    this.#onMessage(message);
  }

  #failStep(plan: StepPlan, cause: unknown): void {
    const error = new MillraceError(
      "engine_failed",
      `A step failed: ${messageOf(cause)}. The requests in it have ended; others go on. Report this with the log.`,
      { cause },
    );
    for (let index = 0; index < plan.numSeqs; index += 1) {
      const row = plan.rows[index]!;
      if (this.#table.handles[row] !== -1) this.#fail(row, error);
    }
  }

  #fail(row: number, error: Error): void {
    this.#failures.push({ handle: this.#table.handles[row]!, error });
    this.#release(row);
  }

  #finish(row: number): void {
    this.counters.add("numFinished", 1);
    this.#release(row);
  }

  /** Gives back everything that a sequence holds. */
  #release(row: number): void {
    this.#rows.delete(this.#table.handles[row]!);
    this.#sampler.release(row);
    this.#stopRules.release(row);
    this.#scoreTable.release(row);
    this.#scheduler.remove(row);
  }

  /** A fault outside the model: the books may be wrong, so nothing more is taken. */
  #break(cause: unknown): void {
    const error = new MillraceError(
      "engine_failed",
      `The engine stopped: ${messageOf(cause)}. Restart it and report this with the log.`,
      { cause },
    );
    this.#end = error;
    const handles = new Set(this.#rows.keys());
    for (const command of this.#inbox) if (command.kind !== "abort") handles.add(command.handle);
    this.#rows.clear();
    this.#inbox = [];
    this.#onMessage({ ...nothing, failures: Array.from(handles, (handle) => ({ handle, error })) });
  }

  #countState(): void {
    this.counters.set("numRunning", this.#scheduler.numRunning);
    this.counters.set("numWaiting", this.#scheduler.numWaiting);
    this.counters.set("numFreeBlocks", this.#pool.numFree);
    this.counters.set("numPreemptions", this.#scheduler.numPreemptions);
  }
}

const nothing: StepMessage = {
  records: { ints: new Int32Array(0), floats: new Float32Array(0) },
  scores: [],
  failures: [],
};

function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(messageOf(error));
}

function aborted(): MillraceError {
  return new MillraceError(
    "engine_closed",
    "The engine was closed before this score was complete. Start a new one.",
  );
}

function notFinite(): MillraceError {
  return new MillraceError(
    "model_not_finite",
    "The model gave a logit that is not a number. Other requests go on. Check the weights with `millrace inspect`, " +
      "or run with --activations f32.",
  );
}
