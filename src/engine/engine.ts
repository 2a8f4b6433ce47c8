import { setImmediate as nextTurn } from "node:timers/promises";
import { sharedNow } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import { invariant } from "../base/invariant.ts";
import type { Ops } from "../kernels/ops.ts";
import type {
  EngineInfo,
  GenerateRequest,
  RequestTrace,
  ScoreRequest,
  StepTrace,
} from "../protocol/engine-client.ts";
import { maxLogprobs } from "../protocol/sampling-params.ts";
import { type AdmissionLimits, checkGenerateRequest, checkScoreRequest } from "./admission.ts";
import { AdmissionControl, type Arrival } from "./admission-control.ts";
import { countState } from "./count-state.ts";
import { createKvManager } from "./create-kv-manager.ts";
import { arrivalOf, type EngineCommand } from "./engine-command.ts";
import type { EngineParts } from "./engine-parts.ts";
import { EngineCounters } from "./engine-stats.ts";
import type { KvManager } from "./kv-manager.ts";
import { ModelRunner } from "./model-runner.ts";
import { type EngineSink, emptyMessage, engineClosed, type StepMessage } from "./open-requests.ts";
import { engineStopped, stepFailed } from "./request-faults.ts";
import { RequestTraces } from "./request-trace.ts";
import { Sampler } from "./sampler.ts";
import { Scheduler, type StepPlan } from "./scheduler.ts";
import { ScoreTable } from "./score-table.ts";
import { createSeedSource, type SeedSource } from "./seed-source.ts";
import { SequenceTable, sequenceKinds } from "./sequence-table.ts";
import { createSpeculator } from "./speculation/create-speculator.ts";
import type { Speculator } from "./speculation/speculator.ts";
import { StepCosts } from "./step-costs.ts";
import { StepResults } from "./step-results.ts";
import { StopRules } from "./stop-rules.ts";
import { createVictimPolicy } from "./victim-policy.ts";

/**
 * Runs all open requests of one model, step by step. Commands wait in an inbox that is read between steps. One bad
 * request never stops the others. While nothing is open, nothing runs.
 */
export class Engine implements EngineSink {
  readonly info: EngineInfo;
  readonly counters: EngineCounters;
  readonly #ops: Ops;
  readonly #limits: AdmissionLimits;
  readonly #admission: AdmissionControl;
  readonly #table: SequenceTable;
  readonly #kv: KvManager;
  readonly #scheduler: Scheduler;
  readonly #costs: StepCosts;
  readonly #sampler: Sampler;
  readonly #stopRules: StopRules;
  readonly #scoreTable: ScoreTable;
  readonly #runner: ModelRunner;
  #speculator: Speculator | null;
  readonly #results: StepResults;
  readonly #traces: RequestTraces;
  readonly #drawSeed: SeedSource;
  readonly #rows = new Map<number, number>();
  readonly #expired = new Int32Array(16);
  #onMessage: (message: StepMessage) => void = () => {};
  #inbox: EngineCommand[] = [];
  #loop: Promise<void> | null = null;
  /** Set when the engine takes nothing more: closed, or broken by a fault of its own. */
  #end: Error | null = null;
  #isClosed = false;

  constructor(parts: EngineParts) {
    const { ops, info, model, cache, host, admission } = parts;
    const { maxNumSeqs, maxNumBatchedTokens, maxModelLen, maxPositions, blockSize, vocabSize } = info;
    const { longPrefillTokenThreshold } = parts;
    const limits = { maxNumSeqs, maxNumBatchedTokens, longPrefillTokenThreshold };
    this.info = info;
    this.counters = parts.counters ?? new EngineCounters();
    this.#ops = ops;
    const { numBlocks } = cache;
    this.#limits = { maxModelLen, maxPositions, vocabSize, maxLogprobs, numBlocks, blockSize };
    // Waiting ones are bounded by the queue; running ones, and preempted ones that wait again, by maxNumSeqs.
    const table = new SequenceTable(admission.maxNumQueuedRequests + maxNumSeqs, blockSize);
    const counters = this.counters;
    this.#table = table;
    this.#admission = new AdmissionControl(admission, table.capacity);
    this.#costs = new StepCosts(cache.sizeBytes / cache.numBlocks);
    this.#kv = createKvManager(parts, table, this.#costs);
    const { queue, priorities } = this.#admission;
    const victims = createVictimPolicy(parts.victims, { priorities, numBlocks: table.numBlocks });
    this.#scheduler = new Scheduler({ limits, table, kv: this.#kv, queue, victims });
    const numDrafts = parts.speculation?.numTokens ?? 0;
    const maxNumDraws = Math.min(maxNumBatchedTokens, maxNumSeqs * (1 + numDrafts));
    const sampler = new Sampler(ops, table, maxNumDraws, maxLogprobs);
    const { estimate } = this.#admission;
    this.#sampler = sampler;
    this.#speculator = createSpeculator(parts, { table, kv: this.#kv, sampler, estimate });
    const stopRules = new StopRules(table, info.eosTokenIds);
    this.#stopRules = stopRules;
    const scores = new ScoreTable(table.capacity);
    this.#scoreTable = scores;
    const { moves } = this.#kv;
    const runner = new ModelRunner({
      ops,
      model,
      cache,
      host,
      moves,
      table,
      sampler,
      scores,
      limits,
      maxModelLen,
    });
    this.#runner = runner;
    const acceptance = this.#speculator?.acceptance ?? null;
    this.#results = new StepResults({ table, sampler, runner, stopRules, scores, counters, acceptance });
    const { hitEnds } = this.#kv;
    const results = this.#results;
    this.#traces = new RequestTraces({ table, counters, hitEnds, results, maxNumSeqs, now: sharedNow });
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
    this.#take({ kind: "generate", handle, request, arrivalMs: arrivalOf(request) });
  }

  score(handle: number, request: ScoreRequest): void {
    this.#take({ kind: "score", handle, request, arrivalMs: arrivalOf(request) });
  }

  abort(handle: number): void {
    this.#take({ kind: "abort", handle });
  }

  /** Forgets what the prefix cache holds. Requests that run are not touched. */
  resetPrefixCache(): void {
    this.#take({ kind: "reset", handle: -1 });
  }

  /** The newest steps, oldest first. */
  recentSteps(): readonly StepTrace[] {
    return this.#traces.recentSteps();
  }

  /** The lives of the requests that ended last, oldest first. */
  recentRequests(): readonly RequestTrace[] {
    return this.#traces.recentRequests();
  }

  /** One iteration: choose tokens, run the model on them, draw, publish. Never throws for one bad request. */
  async step(): Promise<void> {
    this.#readInbox();
    this.#endExpired();
    const plan = this.#scheduler.schedule();
    this.#countState();
    if (plan.numSeqs > 0) {
      try {
        await this.#run(plan);
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
    this.#end ??= engineClosed();
    await this.#loop;
    this.#ops.close();
  }

  /** Walks the books and checks that they agree; linear in the number of blocks. */
  checkInvariants(): void {
    this.#kv.check();
    invariant(this.#rows.size === this.#table.numOpen, "open requests and rows of the table differ");
    const isFree = this.#kv.isIdle && this.#kv.numFree === this.#limits.numBlocks;
    invariant(this.#rows.size > 0 || isFree, "idle, but blocks are held");
  }

  #take(command: EngineCommand): void {
    if (this.#end === null) {
      this.#inbox.push(command);
      this.#loop ??= this.#runSteps();
    } else if (command.kind !== "abort") {
      this.#onMessage({ ...emptyMessage, failures: [{ handle: command.handle, error: this.#end }] });
    }
  }

  /** Steps until nothing is open, with one turn of the event loop between steps so that commands arrive. */
  async #runSteps(): Promise<void> {
    this.counters.set("lastStepEndMs", sharedNow());
    this.counters.set("isBusy", 1);
    try {
      do {
        await nextTurn();
        await this.step();
        this.counters.set("lastStepEndMs", sharedNow());
      } while (this.#inbox.length + this.#rows.size > 0);
      this.checkInvariants();
    } catch (cause) {
      this.#break(cause);
    } finally {
      this.counters.set("isBusy", 0);
      this.#loop = null;
    }
  }

  async #run(plan: StepPlan): Promise<void> {
    this.#traces.beginStep(plan);
    const beginMs = performance.now();
    await this.#runner.run(plan);
    const timeMs = performance.now() - beginMs;
    this.#costs.observeStep(plan.numTokens, timeMs / 1000);
    this.#admission.estimate.observeStep(plan.numTokens, timeMs);
    this.#results.collectTokens();
    this.#traces.endStep(plan);
    this.#scheduler.commit(plan);
    this.#results.collectScores(plan);
    this.#endSequences();
    this.#propose(plan);
  }

  /** Guesses only save time: where making them fails, the engine goes on without. */
  #propose(plan: StepPlan): void {
    try {
      this.#speculator?.propose(plan);
    } catch (cause) {
      this.#speculator = null;
      for (let index = 0; index < plan.numSeqs; index += 1) this.#table.dropDrafts(plan.rows[index]!);
      process.emitWarning(`Speculation failed and is off from now on: ${messageOf(cause)}`);
    }
  }

  #readInbox(): void {
    const commands = this.#inbox;
    this.#inbox = [];
    for (const command of commands) {
      const { handle } = command;
      try {
        if (command.kind === "abort") this.#abort(handle);
        else if (command.kind === "reset") this.#kv.reset();
        else if (command.kind === "generate") this.#admitGenerate(handle, command.request, command.arrivalMs);
        else this.#admitScore(handle, command.request, command.arrivalMs);
      } catch (error) {
        this.counters.add("numRefused", 1);
        this.#results.fail(handle, asError(error));
      }
    }
  }

  #admitGenerate(handle: number, request: GenerateRequest, arrivalMs: number): void {
    const { sampling, scheduling, promptTokenIds } = request;
    checkGenerateRequest(request, this.#limits);
    const arrival = { numPromptTokens: promptTokenIds.length, scheduling, arrivalMs };
    this.#admission.check(arrival, this.#scheduler, sharedNow());
    const row = this.#table.open(handle, sequenceKinds.generate, promptTokenIds);
    this.#sampler.admit(row, sampling, sampling.seed ?? this.#drawSeed(), this.info.eosTokenIds);
    this.#stopRules.admit(row, sampling);
    this.#traces.open(row, arrivalMs, request);
    this.#enter(row, arrival);
  }

  #admitScore(handle: number, request: ScoreRequest, arrivalMs: number): void {
    checkScoreRequest(request, this.#limits);
    const arrival = { numPromptTokens: request.tokenIds.length, scheduling: request.scheduling, arrivalMs };
    this.#admission.check(arrival, this.#scheduler, sharedNow());
    const row = this.#table.open(handle, sequenceKinds.score, request.tokenIds, request.start);
    this.#scoreTable.admit(row, request);
    this.#traces.open(row, arrivalMs, {});
    this.#enter(row, arrival);
  }

  #enter(row: number, arrival: Arrival): void {
    const cacheSalt = arrival.scheduling?.cacheSalt;
    this.#kv.admit(row, cacheSalt === undefined ? {} : { cacheSalt });
    this.#admission.admit(row, arrival);
    this.#speculator?.open(row);
    this.#rows.set(this.#table.handles[row]!, row);
    this.#scheduler.add(row);
  }

  #abort(handle: number): void {
    const row = this.#rows.get(handle);
    if (row === undefined) return;
    if (this.#table.kind[row] === sequenceKinds.score) this.#results.fail(handle, engineClosed());
    else this.#results.abort(row);
    this.#table.traces.end(row, "abort");
    this.counters.add("numAborted", 1);
    this.#release(row);
  }

  #endExpired(): void {
    for (let count = this.#expired.length; count === this.#expired.length; ) {
      count = this.#admission.expired(sharedNow(), this.#expired);
      for (let index = 0; index < count; index += 1) {
        const row = this.#expired[index]!;
        const error = this.#admission.deadlineError(row, this.#table.numOutputTokens(row));
        this.counters.add("numExpired", 1);
        this.#table.traces.end(row, "deadline");
        this.#results.fail(this.#table.handles[row]!, error);
        this.#release(row);
      }
    }
  }

  /** Lets go of the sequences that ended in this step, once their last tokens are in the books. */
  #endSequences(): void {
    const { ended } = this.#results;
    for (const { row, error } of ended) {
      if (error === null) this.#finish(row);
      else this.#fail(row, error);
    }
    ended.length = 0;
  }

  #publish(): void {
    this.#countState();
    const message = this.#results.take();
    if (message !== null) this.#onMessage(message);
  }

  #failStep(plan: StepPlan, cause: unknown): void {
    const error = stepFailed(cause);
    this.#results.ended.length = 0;
    this.#kv.distrustHost();
    for (let index = 0; index < plan.numSeqs; index += 1) {
      const row = plan.rows[index]!;
      // Those that ended before the fault are closed already.
      if (this.#table.handles[row] !== -1) this.#fail(row, error);
    }
  }

  /** Ends a sequence whose content in the cache is not to be trusted. */
  #fail(row: number, error: Error): void {
    this.#kv.distrust(row);
    this.counters.add("numFailed", 1);
    this.#table.traces.end(row, "error");
    this.#results.fail(this.#table.handles[row]!, error);
    this.#release(row);
  }

  #finish(row: number): void {
    const { numPromptTokens, numCached } = this.#table;
    this.counters.add("numFinished", 1);
    this.#admission.estimate.observeEnd(
      numPromptTokens[row]!,
      numCached[row]!,
      this.#table.numOutputTokens(row),
    );
    this.#release(row);
  }

  /** Gives back everything that a sequence holds. */
  #release(row: number): void {
    const handle = this.#table.handles[row]!;
    const trace = this.#traces.close(row);
    if (trace !== null) this.#results.explain(handle, trace);
    this.#rows.delete(handle);
    this.#sampler.release(row);
    this.#stopRules.release(row);
    this.#scoreTable.release(row);
    this.#scheduler.remove(row);
    this.#admission.release(row);
  }

  /** A fault outside the model: the books may be wrong, so nothing more is taken. */
  #break(cause: unknown): void {
    const error = engineStopped(cause);
    this.#end = error;
    this.counters.set("retryAfterSeconds", 0);
    const message = this.#results.take();
    if (message !== null) this.#onMessage(message);
    const handles = new Set(this.#rows.keys());
    for (const { kind, handle } of this.#inbox)
      if (kind === "generate" || kind === "score") handles.add(handle);
    this.#rows.clear();
    this.#inbox = [];
    this.#onMessage({ ...emptyMessage, failures: Array.from(handles, (handle) => ({ handle, error })) });
  }

  #countState(): void {
    countState(this.counters, { admission: this.#admission, scheduler: this.#scheduler, kv: this.#kv });
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(messageOf(error));
}
