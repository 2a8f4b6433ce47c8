import type { ErrorCode } from "../../base/error-catalogue.ts";
import type { ServingTotals } from "./serving-policy.ts";
import { type SampleSummary, WeightedSamples } from "./weighted-samples.ts";

/** What a request must keep to count as good; Infinity for no bound. Milliseconds. */
export interface GoodputTargets {
  readonly ttftMs: number;
  /** Mean time per output token after the first. */
  readonly tpotMs: number;
  readonly e2eMs: number;
}

/** Figures of one simulated run. Times are milliseconds of the simulated clock. */
export interface SimulationResult {
  readonly numRequests: number;
  readonly numFinished: number;
  /** Requests that admission did not take, and those that it ended, by error code. */
  readonly failures: Readonly<Partial<Record<ErrorCode, number>>>;
  /** From the first arrival to the last end. */
  readonly durationMs: number;
  /** Time in steps. */
  readonly busyMs: number;
  readonly numSteps: number;
  readonly numComputedTokens: number;
  readonly numOutputTokens: number;
  readonly ttftMs: SampleSummary | null;
  /** Gaps between tokens, all requests together. */
  readonly itlMs: SampleSummary | null;
  readonly tpotMs: SampleSummary | null;
  readonly e2eMs: SampleSummary | null;
  /** Requests that kept every target. */
  readonly numGood: number;
  readonly totals: ServingTotals;
  /** Means over the busy time. */
  readonly meanSequences: number;
  readonly meanTokens: number;
  /** Share of the KV cache that was taken, and that held tokens of running sequences (a shared one counts for each). */
  readonly meanHeldShare: number;
  readonly meanFilledShare: number;
}

/** One step, for the means. */
export interface SimulatedStep {
  readonly timeMs: number;
  readonly numSequences: number;
  readonly numTokens: number;
  readonly heldShare: number;
  readonly filledShare: number;
}

/** Collects what a run does to each request and to the machine. */
export class SimulationRecord {
  readonly #targets: GoodputTargets;
  readonly #arrivals: Float64Array;
  readonly #firstMs: Float64Array;
  readonly #lastMs: Float64Array;
  readonly #ttft = new WeightedSamples();
  readonly #itl = new WeightedSamples();
  readonly #tpot = new WeightedSamples();
  readonly #e2e = new WeightedSamples();
  readonly #failures: Partial<Record<ErrorCode, number>> = {};
  #numFinished = 0;
  #numGood = 0;
  #endMs = 0;
  #busyMs = 0;
  #numSteps = 0;
  #numComputedTokens = 0;
  #numOutputTokens = 0;
  #sequenceMs = 0;
  #heldMs = 0;
  #filledMs = 0;
  /** The usual gap of a step, from the last one's end, and how many tokens of this step had it. */
  #usualGapMs = 0;
  #numUsualGaps = 0;
  #beforeMs = Number.NaN;

  /** @param arrivals by request, in milliseconds */
  constructor(arrivals: Float64Array, targets: GoodputTargets) {
    this.#targets = targets;
    this.#arrivals = arrivals;
    this.#firstMs = new Float64Array(arrivals.length);
    this.#lastMs = new Float64Array(arrivals.length).fill(-1);
  }

  /** A step ends at `nowMs`; its tokens are told after it. */
  step(nowMs: number, step: SimulatedStep): void {
    this.#itl.add(this.#usualGapMs, this.#numUsualGaps);
    this.#numUsualGaps = 0;
    this.#usualGapMs = nowMs - this.#beforeMs;
    this.#busyMs += step.timeMs;
    this.#numSteps += 1;
    this.#numComputedTokens += step.numTokens;
    this.#sequenceMs += step.timeMs * step.numSequences;
    this.#heldMs += step.timeMs * step.heldShare;
    this.#filledMs += step.timeMs * step.filledShare;
  }

  /** All tokens of a step are told. */
  endStep(nowMs: number): void {
    this.#beforeMs = nowMs;
  }

  token(request: number, nowMs: number): void {
    this.#numOutputTokens += 1;
    const lastMs = this.#lastMs[request]!;
    this.#lastMs[request] = nowMs;
    if (lastMs < 0) {
      this.#firstMs[request] = nowMs;
      this.#ttft.add(nowMs - this.#arrivals[request]!, 1);
    } else if (lastMs === this.#beforeMs) this.#numUsualGaps += 1;
    else this.#itl.add(nowMs - lastMs, 1);
  }

  finish(request: number, nowMs: number, numOutputTokens: number): void {
    const arrivalMs = this.#arrivals[request]!;
    const ttftMs = this.#firstMs[request]! - arrivalMs;
    const tpotMs = numOutputTokens < 2 ? 0 : (nowMs - this.#firstMs[request]!) / (numOutputTokens - 1);
    const e2eMs = nowMs - arrivalMs;
    if (numOutputTokens > 1) this.#tpot.add(tpotMs, 1);
    this.#e2e.add(e2eMs, 1);
    this.#numFinished += 1;
    this.#endMs = Math.max(this.#endMs, nowMs);
    const targets = this.#targets;
    if (ttftMs <= targets.ttftMs && tpotMs <= targets.tpotMs && e2eMs <= targets.e2eMs) this.#numGood += 1;
  }

  fail(code: ErrorCode, nowMs: number): void {
    this.#failures[code] = (this.#failures[code] ?? 0) + 1;
    this.#endMs = Math.max(this.#endMs, nowMs);
  }

  result(totals: ServingTotals): SimulationResult {
    this.#itl.add(this.#usualGapMs, this.#numUsualGaps);
    this.#numUsualGaps = 0;
    const busy = this.#busyMs || 1;
    return {
      numRequests: this.#arrivals.length,
      numFinished: this.#numFinished,
      failures: this.#failures,
      durationMs: this.#endMs - (this.#arrivals[0] ?? 0),
      busyMs: this.#busyMs,
      numSteps: this.#numSteps,
      numComputedTokens: this.#numComputedTokens,
      numOutputTokens: this.#numOutputTokens,
      ttftMs: this.#ttft.summary(),
      itlMs: this.#itl.summary(),
      tpotMs: this.#tpot.summary(),
      e2eMs: this.#e2e.summary(),
      numGood: this.#numGood,
      totals,
      meanSequences: this.#sequenceMs / busy,
      meanTokens: this.#numComputedTokens / (this.#numSteps || 1),
      meanHeldShare: this.#heldMs / busy,
      meanFilledShare: this.#filledMs / busy,
    };
  }
}
