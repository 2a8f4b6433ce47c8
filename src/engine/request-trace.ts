import type { PrefixHitEnd, RequestTrace, StepTrace } from "../protocol/engine-client.ts";
import { hitEnds } from "./prefix-cache.ts";
import type { StepPlan } from "./scheduler.ts";
import { type SequenceTable, sequenceKinds } from "./sequence-table.ts";
import { StepHistory } from "./step-history.ts";

/** Ended requests whose traces are kept. */
const maxRecent = 256;

const hitEndNames = ["complete", "diverged", "unknown"] as const satisfies readonly PrefixHitEnd[];

export interface RequestTracesParts {
  readonly table: SequenceTable;
  /** See `PrefixCache.hitEnds`. */
  readonly hitEnds: Uint8Array;
  /** Told of each request's first token, with the time from its arrival to its first step. */
  readonly results: { start(handle: number, queuedMs: number): void };
  readonly maxNumSeqs: number;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/**
 * Writes down what happens to every open request, in columns of the sequence table, and keeps the newest steps. Costs
 * some numbers per sequence and step, and an object when a request ends, so it is always done.
 */
export class RequestTraces {
  readonly #parts: RequestTracesParts;
  readonly #history: StepHistory;
  /** Written round and round. */
  readonly #recent: RequestTrace[] = [];
  #numEnded = 0;
  readonly #isAsked: Uint8Array;
  readonly #requestIds: string[];
  /** [maxNumSeqs] known tokens of each sequence of the step. */
  readonly #numTokensBefore: Int32Array;

  constructor(parts: RequestTracesParts) {
    const { table, maxNumSeqs } = parts;
    this.#parts = parts;
    this.#history = new StepHistory(maxNumSeqs);
    this.#isAsked = new Uint8Array(table.capacity);
    this.#requestIds = [];
    this.#numTokensBefore = new Int32Array(maxNumSeqs);
  }

  /** A request that was just given a row. Scores have no id of their own. */
  open(
    row: number,
    arrivalMs: number,
    request: { readonly requestId?: string; readonly explain?: boolean },
  ): void {
    const { table } = this.#parts;
    table.traces.arrivalMs[row] = arrivalMs;
    this.#isAsked[row] = request.explain === true ? 1 : 0;
    this.#requestIds[row] = request.requestId ?? `score-${table.handles[row]}`;
  }

  /** Called with a plan before it is run. */
  beginStep(plan: StepPlan): void {
    const { table, now } = this.#parts;
    const { numComputed, numTokens, numPromptTokens, traces } = table;
    const beginMs = now();
    this.#history.begin(beginMs);
    for (let index = 0; index < plan.numSeqs; index += 1) {
      const row = plan.rows[index]!;
      const count = plan.numNewTokens[index]!;
      this.#history.add(this.#requestIds[row]!, count);
      if (Number.isNaN(traces.firstStepMs[row])) traces.firstStepMs[row] = beginMs;
      traces.numSteps[row]! += 1;
      const numOfPrompt = Math.min(count, numPromptTokens[row]! - numComputed[row]!);
      if (numOfPrompt > 0) {
        traces.numChunks[row]! += 1;
        traces.numChunkTokens[row]! += numOfPrompt;
      }
      this.#numTokensBefore[index] = numTokens[row]!;
    }
  }

  /** Called with the same plan when its tokens have been drawn, before sequences that ended are let go of. */
  endStep(plan: StepPlan): void {
    const { table, results, now } = this.#parts;
    const { traces } = table;
    const endMs = now();
    this.#history.end(endMs);
    for (let index = 0; index < plan.numSeqs; index += 1) {
      const row = plan.rows[index]!;
      if (table.kind[row] !== sequenceKinds.generate) continue;
      const numDrawn = table.numTokens[row]! - this.#numTokensBefore[index]!;
      if (numDrawn > 0 && Number.isNaN(traces.firstTokenMs[row])) {
        traces.firstTokenMs[row] = endMs;
        results.start(table.handles[row]!, traces.firstStepMs[row]! - traces.arrivalMs[row]!);
      }
    }
  }

  /** The trace of a row that has ended and is about to be closed; null where its request did not ask. */
  close(row: number): RequestTrace | null {
    const trace = this.#read(row);
    this.#recent[this.#numEnded % maxRecent] = trace;
    this.#numEnded += 1;
    this.#requestIds[row] = "";
    return this.#isAsked[row] === 1 ? trace : null;
  }

  /** Of the requests that ended last, oldest first. */
  recentRequests(): RequestTrace[] {
    const oldest = this.#numEnded % maxRecent;
    return [...this.#recent.slice(oldest), ...this.#recent.slice(0, oldest)];
  }

  recentSteps(): StepTrace[] {
    return this.#history.read();
  }

  #read(row: number): RequestTrace {
    const { table, now } = this.#parts;
    const { traces } = table;
    const arrivalMs = traces.arrivalMs[row]!;
    const sinceArrival = (ms: number): number | null => (Number.isNaN(ms) ? null : ms - arrivalMs);
    return {
      requestId: this.#requestIds[row]!,
      arrivalMs,
      firstStepMs: sinceArrival(traces.firstStepMs[row]!),
      firstTokenMs: sinceArrival(traces.firstTokenMs[row]!),
      endMs: now() - arrivalMs,
      numSteps: traces.numSteps[row]!,
      numChunks: traces.numChunks[row]!,
      numChunkTokens: traces.numChunkTokens[row]!,
      numPromptTokens: table.numPromptTokens[row]!,
      numCachedTokens: table.numCached[row]!,
      prefixHitEnd: table.isStarted[row] === 1 ? this.#hitEnd(row) : null,
      numPreemptions: traces.numPreemptions[row]!,
      numSwaps: traces.numSwaps[row]!,
      numSwappedBlocks: traces.numSwappedBlocks[row]!,
      numRecomputes: traces.numRecomputes[row]!,
      numRecomputedTokens: traces.numRecomputedTokens[row]!,
      numDraftTokens: traces.numDraftTokens[row]!,
      numAcceptedTokens: traces.numAcceptedTokens[row]!,
      endedBy: traces.endOf(row),
    };
  }

  #hitEnd(row: number): PrefixHitEnd {
    return hitEndNames[this.#parts.hitEnds[row] ?? hitEnds.unknown]!;
  }
}
