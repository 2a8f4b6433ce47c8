import { isMillraceError } from "../../base/errors.ts";
import { invariant } from "../../base/invariant.ts";
import type { TraceRequest } from "../../protocol/request-trace.ts";
import { AdmissionControl, type AdmissionSettings, type Arrival } from "../admission-control.ts";
import type { StepPlan } from "../scheduler.ts";
import { SequenceTable, sequenceKinds } from "../sequence-table.ts";
import { StepCosts } from "../step-costs.ts";
import { createServing, type ServingSettings } from "./create-serving.ts";
import { ownToken, PromptMaker } from "./prompt-maker.ts";
import type { ServingPolicy } from "./serving-policy.ts";
import { type GoodputTargets, SimulationRecord, type SimulationResult } from "./simulation-record.ts";
import { emptyShape, measureShape, type StepCostModel, type StepShape, stepMs } from "./step-cost-model.ts";

/** One configuration of a simulated engine. */
export interface SimulationSettings extends ServingSettings {
  readonly admission: AdmissionSettings;
  readonly targets: GoodputTargets;
  readonly costs: StepCostModel;
  /** K and V of all layers of one block, in bytes: what a swap moves. */
  readonly blockBytes: number;
}

/** A request with what its client asked for: at least its output's length. */
export interface SimulatedRequest extends TraceRequest {
  readonly maxTokens: number;
}

/**
 * Runs a trace through the engine's own admission, scheduler and KV books on a clock that the cost model moves. No
 * model is computed and no time is read: equal inputs give equal results.
 *
 * @param requests sorted by arrival; each must fit into the empty KV cache and have prompt and output tokens
 */
export function simulate(
  requests: readonly SimulatedRequest[],
  settings: SimulationSettings,
): SimulationResult {
  return new SimulatedEngine(requests, settings).run();
}

class SimulatedEngine {
  readonly #requests: readonly SimulatedRequest[];
  readonly #settings: SimulationSettings;
  readonly #table: SequenceTable;
  readonly #admission: AdmissionControl;
  readonly #costs: StepCosts;
  readonly #serving: ServingPolicy;
  readonly #prompts = new PromptMaker();
  readonly #record: SimulationRecord;
  readonly #shape: StepShape = emptyShape();
  readonly #expired = new Int32Array(16);
  /** Rows that drew their last token in this step. */
  readonly #ended: number[] = [];
  #nextRequest = 0;
  #nowMs = 0;

  constructor(requests: readonly SimulatedRequest[], settings: SimulationSettings) {
    const { admission, blockSize, blockBytes, limits } = settings;
    this.#requests = requests;
    this.#settings = settings;
    this.#table = new SequenceTable(admission.maxNumQueuedRequests + limits.maxNumSeqs, blockSize);
    this.#admission = new AdmissionControl(admission, this.#table.capacity);
    this.#costs = new StepCosts(blockBytes, this.#admission.estimate.stepTimes);
    this.#serving = createServing(settings, this.#table, this.#admission, this.#costs);
    const arrivals = Float64Array.from(requests, ({ arrivalMs }) => arrivalMs);
    this.#record = new SimulationRecord(arrivals, settings.targets);
  }

  run(): SimulationResult {
    for (;;) {
      this.#admitArrived();
      this.#endExpired();
      const nextArrivalMs = this.#nextArrivalMs();
      const plan = this.#serving.schedule(this.#nowMs, nextArrivalMs);
      if (plan.numSeqs > 0) this.#step(plan);
      else {
        const nextMs = Math.min(nextArrivalMs, this.#serving.wakeMs);
        if (nextMs === Number.POSITIVE_INFINITY) break;
        invariant(nextMs > this.#nowMs, "the simulated clock stands still");
        this.#nowMs = nextMs;
      }
    }
    invariant(this.#table.numOpen === 0, "requests are left open, but nothing is to be done");
    return this.#record.result(this.#serving.totals);
  }

  /** When the engine hears of the next request. */
  #nextArrivalMs(): number {
    const next = this.#requests[this.#nextRequest];
    return next === undefined ? Number.POSITIVE_INFINITY : next.arrivalMs + this.#settings.costs.requestMs;
  }

  /** What has come while the last step ran is admitted before the next one, as the engine does. */
  #admitArrived(): void {
    while (this.#nextArrivalMs() <= this.#nowMs) {
      this.#admit(this.#nextRequest, this.#nextArrivalMs());
      this.#nextRequest += 1;
    }
  }

  #admit(index: number, arrivalMs: number): void {
    const request = this.#requests[index]!;
    const { numPromptTokens, scheduling } = request;
    const arrival: Arrival = { numPromptTokens, scheduling, arrivalMs };
    try {
      this.#admission.check(arrival, this.#serving, this.#nowMs);
    } catch (error) {
      if (!isMillraceError(error)) throw error;
      this.#record.fail(error.code, this.#nowMs);
      return;
    }
    const prompt = this.#prompts.make(index, request);
    const row = this.#table.open(index, sequenceKinds.generate, prompt);
    this.#table.maxTokens[row] = request.maxTokens;
    this.#admission.admit(row, arrival);
    this.#serving.add(row, this.#nowMs);
  }

  #endExpired(): void {
    for (let count = this.#expired.length; count === this.#expired.length; ) {
      count = this.#admission.expired(this.#nowMs, this.#expired);
      for (let index = 0; index < count; index += 1) {
        this.#record.fail("deadline_exceeded", this.#nowMs);
        this.#release(this.#expired[index]!);
      }
    }
  }

  #step(plan: StepPlan): void {
    measureShape(plan, this.#table, this.#shape);
    const swapMs = (this.#serving.takeMoves() / 2) * this.#costs.swap(1) * 1000;
    const timeMs = stepMs(this.#settings.costs, this.#shape) + swapMs;
    this.#nowMs += timeMs;
    this.#admission.estimate.stepTimes.observe(plan.numTokens, timeMs);
    const numCacheTokens = this.#settings.numBlocks * this.#settings.blockSize;
    this.#record.step(this.#nowMs, {
      timeMs,
      numSequences: plan.numSeqs,
      numTokens: plan.numTokens,
      heldShare: this.#serving.numHeldTokens / numCacheTokens,
      filledShare: this.#numFilledTokens(plan) / numCacheTokens,
    });
    this.#draw(plan);
    this.#record.endStep(this.#nowMs);
    this.#serving.commit(plan);
    for (const row of this.#ended) this.#finish(row);
    this.#ended.length = 0;
  }

  /** Tokens of planned sequences that are in the cache when the step ends. */
  #numFilledTokens(plan: StepPlan): number {
    let numTokens = plan.numTokens;
    for (let index = 0; index < plan.numSeqs; index += 1)
      numTokens += this.#table.numComputed[plan.rows[index]!]!;
    return numTokens;
  }

  /** Every sequence that has caught up draws its next token. */
  #draw(plan: StepPlan): void {
    const { numComputed, numTarget, handles } = this.#table;
    for (let index = 0; index < plan.numSeqs; index += 1) {
      const row = plan.rows[index]!;
      if (numComputed[row]! + plan.numNewTokens[index]! !== numTarget[row]) continue;
      const request = handles[row]!;
      this.#table.append(row, ownToken(request));
      this.#record.token(request, this.#nowMs);
      const wanted = this.#requests[request]!.numOutputTokens;
      if (this.#table.numOutputTokens(row) === wanted) this.#ended.push(row);
    }
  }

  #finish(row: number): void {
    const { numPromptTokens, numCached, handles } = this.#table;
    const numOutputTokens = this.#table.numOutputTokens(row);
    this.#admission.estimate.observePrompt(numPromptTokens[row]!, numCached[row]!);
    this.#admission.estimate.observeAnswer(numOutputTokens);
    this.#record.finish(handles[row]!, this.#nowMs, numOutputTokens);
    this.#release(row);
  }

  #release(row: number): void {
    this.#serving.remove(row);
    this.#admission.release(row);
  }
}
