import { isMillraceError, MillraceError } from "../../base/errors.ts";
import type { FinishReason, RequestScheduling, RequestTrace } from "../../protocol/engine-client.ts";
import type { SamplingParams } from "../../protocol/sampling-params.ts";
import type { TokenGrammar } from "../../protocol/token-mask-channel.ts";
import { createTextStream, type TextStream, type TextUsage } from "../../text/text-generator.ts";
import type { TextDelta } from "../../text/text-stream.ts";
import type { ServedModel } from "../served-model.ts";
import type { ServerMetrics } from "../server-metrics.ts";

/** One answer that the engine is to write. */
export interface SequenceRequest {
  readonly promptTokenIds: readonly number[];
  readonly sampling: SamplingParams;
  readonly stop: readonly string[];
  readonly includeStopInOutput: boolean;
  readonly skipSpecialTokens: boolean;
  readonly scheduling: RequestScheduling;
  readonly grammar: TokenGrammar | undefined;
  /** Tokens that scoring the prompt found in the cache, which then holds all of it; null where it was not scored. */
  readonly scoredFromCache: number | null;
  /** Whether to call `onTrace` for it. */
  readonly explain: boolean;
}

/** What became certain of one sequence. */
export interface SequenceEvent {
  /** Place of the sequence in the request. */
  readonly index: number;
  readonly delta: TextDelta;
  /** Tokens of this sequence so far. */
  readonly usage: TextUsage;
}

export interface SequenceRun {
  readonly model: ServedModel;
  readonly metrics: ServerMetrics;
  /** Unique among open requests. */
  readonly requestId: string;
  /** When the request came, by the server's clock. */
  readonly arrivedAt: number;
  readonly sequences: readonly SequenceRequest[];
  /** Aborts all sequences in the engine. */
  readonly signal: AbortSignal;
  /** A promise holds the sequence back until it resolves: the reader is slow. */
  readonly onEvent: (event: SequenceEvent) => void | Promise<void>;
  /** What became of a sequence that asked for it, after its last event. */
  readonly onTrace: (index: number, trace: RequestTrace) => void;
}

/**
 * Runs all sequences of a request at once; events come as the engine makes them, in order within a sequence. The
 * first failure ends the others and is thrown once all have ended.
 */
export async function runSequences(run: SequenceRun): Promise<void> {
  const { client } = run.model;
  const failed = new AbortController();
  const abortAll = (): void => {
    for (const index of run.sequences.keys()) client.abort(sequenceId(run, index));
  };
  run.signal.addEventListener("abort", abortAll, { once: true });
  failed.signal.addEventListener("abort", abortAll, { once: true });
  const isOver = (): boolean => run.signal.aborted || failed.signal.aborted;
  const numTokens = run.sequences.map(() => 0);
  const tasks = run.sequences.map(async (_, index) => {
    try {
      await runSequence(run, index, isOver, (count) => (numTokens[index] = count));
    } catch (error) {
      failed.abort();
      throw error;
    }
  });
  const results = await Promise.allSettled(tasks);
  run.signal.removeEventListener("abort", abortAll);
  run.metrics.observeLongest(run.model, Math.max(...numTokens));
  const failure = results.find((result) => result.status === "rejected");
  if (failure !== undefined) throw failure.reason;
}

function sequenceId(run: SequenceRun, index: number): string {
  return `${run.requestId}-${index}`;
}

async function runSequence(
  run: SequenceRun,
  index: number,
  isOver: () => boolean,
  onTokens: (count: number) => void,
): Promise<void> {
  const { model } = run;
  const sequence = run.sequences[index]!;
  const times = run.metrics.openSequence(model, {
    numPromptTokens: sequence.promptTokenIds.length,
    maxTokens: sequence.sampling.maxTokens,
    arrivedAt: run.arrivedAt,
  });
  let outcome: FinishReason = "error";
  let errorCode: string | null = null;
  let stream: TextStream | null = null;
  try {
    if (isOver()) {
      outcome = "abort";
      return;
    }
    stream = createTextStream(model.client, model.tokenizer, {
      ...sequence,
      requestId: sequenceId(run, index),
    });
    for await (const delta of stream) {
      times.add(delta);
      if (delta.finishReason === "error") {
        throw new MillraceError(
          "engine_failed",
          "The engine could not finish this request. See the server's log.",
        );
      }
      if (delta.finishReason !== null) outcome = delta.finishReason;
      await run.onEvent({ index, delta, usage: stream.usage });
    }
    if (stream.trace !== null) run.onTrace(index, stream.trace);
  } catch (error) {
    // An engine may end an aborted request by an error; the client is gone either way.
    if (run.signal.aborted) outcome = "abort";
    else {
      outcome = "error";
      errorCode = isMillraceError(error) ? error.code : "internal";
      throw error;
    }
  } finally {
    const { queuedMs = null, usage } = stream ?? {};
    onTokens(usage?.completionTokens ?? 0);
    const cachedTokens = Math.min(usage?.cachedTokens ?? 0, sequence.scoredFromCache ?? Infinity);
    times.end({ reason: outcome, errorCode, queuedMs, cachedTokens });
  }
}
