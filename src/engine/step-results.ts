import type { RequestEnd, RequestTrace } from "../protocol/engine-client.ts";
import { maxLogprobs } from "../protocol/sampling-params.ts";
import type { EngineCounters } from "./engine-stats.ts";
import type { ModelRunner } from "./model-runner.ts";
import type { StepMessage } from "./open-requests.ts";
import { notFinite } from "./request-faults.ts";
import type { Sampler } from "./sampler.ts";
import type { StepPlan } from "./scheduler.ts";
import type { ScoreTable } from "./score-table.ts";
import { type SequenceTable, sequenceKinds } from "./sequence-table.ts";
import type { Speculator } from "./speculation/speculator.ts";
import { type DrawnLogprobs, endedByAbort, type StepEnd, StepWriter } from "./step-record.ts";
import type { StopRules } from "./stop-rules.ts";

/** A sequence that ends with this step, and the error that ended it, if one did. */
export interface EndedSequence {
  readonly row: number;
  readonly error: Error | null;
}

interface StepResultsParts {
  readonly table: SequenceTable;
  readonly sampler: Sampler;
  readonly runner: ModelRunner;
  readonly stopRules: StopRules;
  readonly scores: ScoreTable;
  readonly counters: EngineCounters;
  /** Told which guesses were right; null without speculation. */
  readonly speculator: Pick<Speculator, "record"> | null;
}

/**
 * Takes what a step computed: appends drawn tokens to their sequences, completes scores, decides which sequences end,
 * and gathers the one message that tells the clients.
 */
export class StepResults {
  /** Filled by the collecting methods, emptied by the engine, which lets go of the sequences. */
  readonly ended: EndedSequence[] = [];
  readonly #parts: StepResultsParts;
  readonly #writer = new StepWriter();
  /** Filled again for each token with log-probabilities. */
  readonly #drawn: { -readonly [Key in keyof DrawnLogprobs]: DrawnLogprobs[Key] };
  #scores: StepMessage["scores"][number][] = [];
  #failures: StepMessage["failures"][number][] = [];
  #starts: StepMessage["starts"][number][] = [];
  #traces: StepMessage["traces"][number][] = [];

  constructor(parts: StepResultsParts) {
    this.#parts = parts;
    this.#drawn = { ...parts.sampler.output, logprob: 0, rank: 0, numTop: 0, topStart: 0 };
  }

  /**
   * Appends each drawn token to its sequence. A draw after a guess counts only if the draw before it was that guess;
   * then it is what would have been drawn without guessing.
   */
  collectTokens(): void {
    const { table, runner, counters, speculator } = this.#parts;
    const { numSampled, sampledRows, sampledOffsets } = runner;
    for (let index = 0; index < numSampled; ) {
      const row = sampledRows[index]!;
      let numDrafts = 0;
      while (index + numDrafts + 1 < numSampled && sampledOffsets[index + numDrafts + 1]! > 0) numDrafts += 1;
      const first = table.numTokens[row]!;
      const numRight = this.#collectDraws(row, index, numDrafts);
      if (numDrafts > 0) {
        table.traces.numDraftTokens[row]! += numDrafts;
        table.traces.numAcceptedTokens[row]! += numRight;
        counters.addDrafts(numDrafts, numRight);
        speculator?.record(row, first, numDrafts, numRight);
      }
      index += numDrafts + 1;
    }
  }

  /** Appends the draws of one sequence, which start at `index`, and returns how many of its guesses were right. */
  #collectDraws(row: number, index: number, numDrafts: number): number {
    const { table, sampler } = this.#parts;
    for (let numRight = 0; ; numRight += 1) {
      const guess = numRight < numDrafts ? table.tokenIds(row)[table.numTokens[row]!] : -1;
      const isOpen = this.#collectToken(row, index + numRight);
      if (sampler.output.tokenIds[index + numRight] !== guess) return numRight;
      if (!isOpen) return numRight + 1;
    }
  }

  /** Completes the scores whose last token is computed. */
  collectScores(plan: StepPlan): void {
    const { table, scores, counters } = this.#parts;
    for (let index = 0; index < plan.numSeqs; index += 1) {
      const row = plan.rows[index]!;
      if (table.kind[row] !== sequenceKinds.score || table.numComputed[row] !== table.numTarget[row])
        continue;
      const result = scores.result(row);
      if (result.logprobs.some(Number.isNaN)) {
        this.ended.push({ row, error: notFinite("logit") });
        continue;
      }
      counters.add("promptTokens", table.numPromptTokens[row]!);
      const numCachedTokens = table.numCached[row]!;
      this.#scores.push({ handle: table.handles[row]!, result: { ...result, numCachedTokens } });
      table.traces.end(row, "scored");
      this.ended.push({ row, error: null });
    }
  }

  /** A request that ends with an error. */
  fail(handle: number, error: Error): void {
    this.#failures.push({ handle, error });
  }

  /** A generating sequence that its client gave up. */
  abort(row: number): void {
    const { table } = this.#parts;
    this.#writer.end(table.handles[row]!, table.numCached[row]!, endedByAbort);
  }

  /** A request whose first token this step drew. */
  start(handle: number, queuedMs: number): void {
    this.#starts.push({ handle, queuedMs });
  }

  /** What a request that ends is to be told of its life; it travels with the end. */
  explain(handle: number, trace: RequestTrace): void {
    this.#traces.push({ handle, trace });
  }

  /** What is to be told, or null. */
  take(): StepMessage | null {
    if (this.#writer.isEmpty && this.#scores.length + this.#failures.length === 0) return null;
    const records = this.#writer.take();
    const rest = { failures: this.#failures, starts: this.#starts, traces: this.#traces };
    const message = { records, scores: this.#scores, ...rest };
    this.#scores = [];
    this.#failures = [];
    this.#starts = [];
    this.#traces = [];
    return message;
  }

  /** Appends draw `index` to its sequence; false when the sequence ends with it. */
  #collectToken(row: number, index: number): boolean {
    const { table, sampler, stopRules, counters } = this.#parts;
    const { output } = sampler;
    const fault = sampler.faultOf(row, index);
    if (fault !== null) {
      this.ended.push({ row, error: fault });
      return false;
    }
    const tokenId = output.tokenIds[index]!;
    if (table.numOutputTokens(row) === 0) counters.add("promptTokens", table.numPromptTokens[row]!);
    counters.add("generationTokens", 1);
    table.append(row, tokenId);
    const end = stopRules.endOf(row, tokenId);
    const logprobs = this.#drawnLogprobs(row, index);
    this.#writer.token(table.handles[row]!, tokenId, table.numCached[row]!, end, logprobs);
    if (end.finishReason === null) {
      sampler.follow(row);
      return true;
    }
    table.traces.end(row, ruleOf(end));
    this.ended.push({ row, error: null });
    return false;
  }

  #drawnLogprobs(row: number, index: number): DrawnLogprobs | null {
    const { table, sampler } = this.#parts;
    const numTop = table.numLogprobs[row]!;
    if (numTop < 0) return null;
    const drawn = this.#drawn;
    drawn.logprob = sampler.output.logprobs[index]!;
    drawn.rank = sampler.output.ranks[index]!;
    drawn.numTop = numTop;
    drawn.topStart = index * maxLogprobs;
    return drawn;
  }
}

function ruleOf({ finishReason, stopId }: StepEnd): RequestEnd {
  if (finishReason === "length") return "max_tokens";
  return stopId === -1 ? "end_token" : "stop_token";
}
