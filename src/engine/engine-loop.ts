import { setImmediate as nextTurn } from "node:timers/promises";
import { sharedNow } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import { invariant } from "../base/invariant.ts";
import type { Ops } from "../kernels/ops.ts";
import type {
  AdapterHost,
  EngineInfo,
  GenerateRequest,
  RequestTrace,
  ScoreRequest,
  StepTrace,
} from "../protocol/engine-client.ts";
import { createAdapterHost } from "./adapters/adapter-host.ts";
import { countState } from "./count-state.ts";
import { type AdapterCommand, arrivalOf, dropCommand, type EngineCommand } from "./engine-command.ts";
import { createEngineCore, type EngineCore } from "./engine-core.ts";
import type { EngineParts } from "./engine-parts.ts";
import type { EngineCounters } from "./engine-stats.ts";
import { IntegrityCheck } from "./integrity-check.ts";
import { type EngineSink, emptyMessage, engineClosed, type StepMessage } from "./open-requests.ts";
import { OpenSequences } from "./open-sequences.ts";
import { engineStopped, stepFailed } from "./request-faults.ts";
import type { StepPlan } from "./scheduler.ts";
import type { Speculator } from "./speculation/speculator.ts";

/**
 * Runs all open requests of one model, step by step. Commands wait in an inbox that is read between steps. One bad
 * request never stops the others. While nothing is open, nothing runs.
 */
export class EngineLoop implements EngineSink {
  readonly info: EngineInfo;
  readonly counters: EngineCounters;
  /** Null where no adapters can be loaded. */
  readonly adapters: AdapterHost | null;
  readonly #ops: Ops;
  readonly #core: EngineCore;
  readonly #sequences: OpenSequences;
  readonly #integrity: IntegrityCheck;
  #speculator: Speculator | null;
  #onMessage: (message: StepMessage) => void = () => {};
  #inbox: EngineCommand[] = [];
  #loop: Promise<void> | null = null;
  /** Set when the engine takes nothing more: closed, or broken by a fault of its own. */
  #end: Error | null = null;
  #isClosed = false;

  constructor(parts: EngineParts) {
    const { info, ops, seed } = parts;
    const core = createEngineCore(parts);
    this.info = info;
    this.counters = core.counters;
    const { adapters = null } = parts;
    this.adapters = adapters === null ? null : createAdapterHost(adapters, (command) => this.#take(command));
    this.#ops = ops;
    this.#core = core;
    this.#speculator = core.speculator;
    this.#sequences = new OpenSequences(core, { info, seed, onOpen: (row) => this.#speculator?.open(row) });
    this.#integrity = new IntegrityCheck(core.kv, parts.cache.numBlocks);
    countState(core);
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
    return this.#core.traces.recentSteps();
  }

  /** The lives of the requests that ended last, oldest first. */
  recentRequests(): readonly RequestTrace[] {
    return this.#core.traces.recentRequests();
  }

  /** One iteration: choose tokens, run the model on them, draw, publish. Never throws for one bad request. */
  async step(): Promise<void> {
    const beginMs = performance.now();
    this.#readInbox();
    this.#sequences.endExpired();
    const plan = this.#core.scheduler.schedule();
    countState(this.#core);
    const scheduledMs = performance.now();
    let computedMs = scheduledMs;
    if (plan.numSeqs > 0) {
      const isComputed = await this.#compute(plan);
      computedMs = performance.now();
      if (isComputed) this.#collect(plan);
      this.counters.addStep(plan.numTokens);
      countState(this.#core);
    }
    this.#publish();
    this.#propose(plan);
    this.#countTimes(beginMs, scheduledMs, computedMs);
  }

  #countTimes(beginMs: number, scheduledMs: number, computedMs: number): void {
    this.counters.add("scheduleMs", scheduledMs - beginMs);
    this.counters.add("computeMs", computedMs - scheduledMs);
    this.counters.add("publishMs", performance.now() - computedMs);
  }

  /** Aborts what is open, frees everything and releases the backend. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const handle of this.#sequences.handles()) this.abort(handle);
    for (const { kind, handle } of this.#inbox) if (kind !== "abort") this.abort(handle);
    this.#end ??= engineClosed();
    await this.#loop;
    this.#ops.close();
  }

  /** Walks the books and checks that they agree; linear in the number of blocks. For tests. */
  checkInvariants(): void {
    const { kv, table } = this.#core;
    kv.check();
    invariant(this.#sequences.size === table.numOpen, "open requests and rows of the table differ");
    if (table.numOpen === 0) kv.checkIdle(0, this.info.numTotalBlocks);
  }

  #take(command: EngineCommand): void {
    if (this.#end === null) {
      this.#inbox.push(command);
      this.#loop ??= this.#runSteps();
    } else if (command.kind !== "abort") {
      dropCommand(command, this.#end);
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
      } while (this.#inbox.length + this.#sequences.size > 0);
      invariant(this.#core.table.numOpen === 0, "idle, but rows of the table are open");
      this.#integrity.checkIdle();
    } catch (cause) {
      this.#break(cause);
    } finally {
      this.counters.set("isBusy", 0);
      this.#loop = null;
    }
  }

  /** Runs the model; false where that failed, which ends the sequences of the step and no others. */
  async #compute(plan: StepPlan): Promise<boolean> {
    const { runner, traces, admission } = this.#core;
    traces.beginStep(plan);
    const beginMs = performance.now();
    try {
      await runner.run(plan);
    } catch (cause) {
      this.#sequences.failStep(plan.rows, plan.numSeqs, stepFailed(cause));
      return false;
    }
    const timeMs = performance.now() - beginMs;
    admission.estimate.stepTimes.observe(plan.numTokens, timeMs);
    this.#speculator?.observe(plan, runner.numSampled, timeMs);
    return true;
  }

  #collect(plan: StepPlan): void {
    const { scheduler, results, traces } = this.#core;
    results.collectTokens();
    traces.endStep(plan);
    scheduler.commit(plan);
    results.collectScores(plan);
    this.#sequences.endCompleted();
  }

  /** Guesses only save time: where making them fails, the engine goes on without. */
  #propose(plan: StepPlan): void {
    try {
      this.#speculator?.propose(plan);
    } catch (cause) {
      this.#speculator = null;
      this.counters.add("numSpeculationFailures", 1);
      for (let index = 0; index < plan.numSeqs; index += 1) this.#core.table.dropDrafts(plan.rows[index]!);
      process.emitWarning(`Speculation failed and is off from now on: ${messageOf(cause)}`);
    }
  }

  #readInbox(): void {
    const commands = this.#inbox;
    this.#inbox = [];
    for (const command of commands) {
      const { handle } = command;
      try {
        if (command.kind === "adapters") this.#changeAdapters(command);
        else if (command.kind === "abort") this.#sequences.abort(handle);
        else if (command.kind === "reset") this.#core.kv.reset();
        else if (command.kind === "score") this.#sequences.score(handle, command.request, command.arrivalMs);
        else this.#sequences.generate(handle, command.request, command.arrivalMs);
      } catch (thrown) {
        const error = thrown instanceof Error ? thrown : new Error(messageOf(thrown));
        this.counters.add("numRefused", 1);
        dropCommand(command, error);
        this.#core.results.fail(handle, error);
      }
    }
  }

  #changeAdapters({ change, refuse }: AdapterCommand): void {
    const { adapters } = this.#core;
    invariant(adapters !== null, "adapters are changed where there are none");
    try {
      change(adapters);
    } catch (error) {
      refuse(error instanceof Error ? error : new Error(messageOf(error)));
    }
  }

  #publish(): void {
    const message = this.#core.results.take();
    if (message !== null) this.#onMessage(message);
  }

  /** A fault outside the model: the books may be wrong, so nothing more is taken. */
  #break(cause: unknown): void {
    const error = engineStopped(cause);
    this.#end = error;
    this.counters.set("retryAfterSeconds", 0);
    this.#publish();
    const handles = new Set(this.#sequences.handles());
    for (const command of this.#inbox) {
      if (command.kind === "generate" || command.kind === "score") handles.add(command.handle);
      dropCommand(command, error);
    }
    this.#sequences.clear();
    this.#inbox = [];
    this.#onMessage({ ...emptyMessage, failures: Array.from(handles, (handle) => ({ handle, error })) });
  }
}
