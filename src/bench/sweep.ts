import { setMaxListeners } from "node:events";
import { isMillraceError, MillraceError } from "../base/errors.ts";
import type { Progress } from "../base/progress.ts";
import { createConnectionPool } from "../client/completion-stream.ts";
import { type Endpoint, firstModelOf, tokenizeRemotely } from "../client/endpoint.ts";
import type { BenchRecord, BenchStage, RequestRecord } from "../records/bench.ts";
import { startOrigin } from "../records/origin.ts";
import { runStage } from "./closed-loop.ts";
import { type BenchTarget, measureRequest } from "./measure-request.ts";
import { relativeSpread } from "./ratio-interval.ts";
import { calibrateWords, createWorkload, type PromptSource, type Workload, wordText } from "./workload.ts";

export interface SweepOptions {
  readonly endpoint: Endpoint;
  /** Null takes the first model that the server lists. */
  readonly model: string | null;
  readonly concurrencies: readonly number[];
  /** Requests of a stage = max(minRequests, requestsPerSeat · concurrency), or more to fill `minSeconds`. */
  readonly requestsPerSeat: number;
  readonly minRequests: number;
  /** A stage goes on until it is so old: fast models get enough requests for a narrow interval. */
  readonly minSeconds: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly numWarmup: number;
  readonly seed: number;
  /**
   * Vocabulary size for token-id prompts. Null: ids of common words where the server has `/tokenize`, else text whose
   * number of words is calibrated on the warm-up.
   */
  readonly vocabSize: number | null;
  /** The server's backend, instruction set and threads, where they are known. */
  readonly kernels?: string | null;
  readonly progress: Progress;
  readonly signal?: AbortSignal | undefined;
  /** Receives the raw records of each stage as soon as it ends, so that a later fault loses nothing. */
  readonly onStage?: (stage: BenchStage, records: readonly RequestRecord[]) => void;
}

/**
 * Warm-up, then one closed-loop stage per concurrency.
 *
 * Errors: `endpoint_unreachable`; `endpoint_failed` when the warm-up fails, a stage has no good request or the server
 * is gone after one; the signal's reason.
 */
export async function runSweep(options: SweepOptions): Promise<BenchRecord> {
  const { endpoint, signal, progress } = options;
  const model = options.model ?? (await firstModelOf(endpoint, signal)).id;
  // Every request in flight listens for the abort; their number is the load's, not a leak.
  if (signal !== undefined) setMaxListeners(0, signal);
  let workload = createWorkload({ ...options, prompts: await choosePrompts(options, model) });
  const pool = createConnectionPool(Math.max(...options.concurrencies) + 1);
  const target: BenchTarget = { endpoint, model, pool };
  const finishOrigin = startOrigin(options.kernels ?? null);
  const stages: BenchStage[] = [];
  try {
    workload = await warmUp(target, workload, options);
    let firstIndex = options.numWarmup;
    for (const concurrency of options.concurrencies) {
      const numRequests = Math.max(options.minRequests, options.requestsPerSeat * concurrency);
      progress.start(`load, ${concurrency} in flight`, numRequests);
      const { stage, records } = await runStage(target, {
        concurrency,
        numRequests,
        minSeconds: options.minSeconds,
        firstIndex,
        workload,
        signal,
        onRequest: (done) => progress.update(Math.min(done, numRequests), `${done} requests`),
      });
      signal?.throwIfAborted();
      firstIndex += records.length;
      options.onStage?.(stage, records);
      stages.push(stage);
      await refuseLostServer(stage, options);
      progress.finish(stageLine(stage));
    }
  } finally {
    await pool.destroy();
  }
  return {
    kind: "bench",
    origin: finishOrigin(),
    url: endpoint.url,
    model,
    workload: {
      inputTokens: options.inputTokens,
      outputTokens: options.outputTokens,
      promptForm: workload.promptForm,
      numWords: workload.numWords,
      seed: options.seed,
      numWarmup: options.numWarmup,
    },
    stages,
  };
}

async function choosePrompts(options: SweepOptions, model: string): Promise<PromptSource> {
  const { endpoint, signal, vocabSize, inputTokens } = options;
  if (vocabSize !== null) return { vocabSize };
  const tokenIds = await tokenizeRemotely(endpoint, { model, prompt: wordText, signal });
  return tokenIds === null ? { numWords: inputTokens } : { tokenIds };
}

/** Sends the warm-up; the workload that it gives back has text prompts of the asked length. */
async function warmUp(target: BenchTarget, first: Workload, options: SweepOptions): Promise<Workload> {
  const { progress, numWarmup, signal, inputTokens } = options;
  let workload = first;
  if (numWarmup > 0) progress.start("warm-up", numWarmup);
  for (let index = 0; index < numWarmup; index += 1) {
    const record = await measureRequest(target, {
      index,
      prompt: workload.prompt(index),
      outputTokens: workload.outputTokens,
      originMs: performance.now(),
      signal,
    });
    signal?.throwIfAborted();
    if (record.error !== null) {
      throw new MillraceError(
        "endpoint_failed",
        `The warm-up request to ${target.endpoint.url} failed. ${sentence(record.error)} The server must take streaming POST /v1/completions with a prompt of ${inputTokens} tokens; look at its log.`,
      );
    }
    if (workload.numWords !== null && record.promptTokens !== null && record.promptTokens > 0) {
      const numWords = calibrateWords(workload.numWords, record.promptTokens, inputTokens);
      workload = createWorkload({ ...options, prompts: { numWords } });
    }
    progress.update(index + 1);
  }
  if (numWarmup > 0) progress.finish("warm-up done");
  return workload;
}

/** A stage with failures is kept only where the server still answers. */
async function refuseLostServer(stage: BenchStage, options: SweepOptions): Promise<void> {
  if (stage.numErrors === 0) return;
  const { url } = options.endpoint;
  const failed = `${stage.numErrors} of ${stage.numRequests} requests to ${url} failed at ${stage.concurrency} in flight. The first: ${sentence(stage.firstError!)}`;
  if (stage.numErrors === stage.numRequests) {
    throw new MillraceError(
      "endpoint_failed",
      `${failed} The stages before are kept; look at the server's log and run again.`,
    );
  }
  try {
    await firstModelOf(options.endpoint, options.signal);
  } catch (error) {
    // A server without a list of models still answers.
    if (isMillraceError(error) && error.code === "endpoint_failed") return;
    if (!isMillraceError(error) || error.code !== "endpoint_unreachable") throw error;
    throw new MillraceError(
      "endpoint_failed",
      `${failed} The server does not answer any more. The records up to then are kept; look at the server's log and run again.`,
      { cause: error },
    );
  }
}

function sentence(text: string): string {
  return /[.!?…]$/.test(text) ? text : `${text}.`;
}

function stageLine(stage: BenchStage): string {
  const errors = stage.numErrors === 0 ? "" : `, ${stage.numErrors} errors`;
  const busy = stage.clientCpuShare > 0.7 ? ", client nearly saturated" : "";
  return `${stage.concurrency} in flight: ${stage.outputTokensPerSecond.toFixed(1)} output tokens/s${spreadText(stage)}, TTFT p50 ${stage.ttftMs?.p50.toFixed(0) ?? "–"} ms, TPOT p50 ${stage.tpotMs?.p50.toFixed(1) ?? "–"} ms${errors}${busy}`;
}

/** The spread of the throughput as " ± 3 %"; nothing for a stage with fewer than two slices. */
export function spreadText(stage: BenchStage): string {
  const spread = relativeSpread(stage.slices.map((slice) => slice.outputTokensPerSecond));
  return spread === null ? "" : ` ± ${(100 * spread).toFixed(spread < 0.1 ? 1 : 0)} %`;
}
