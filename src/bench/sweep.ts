import { setMaxListeners } from "node:events";
import os from "node:os";
import { MillraceError } from "../base/errors.ts";
import type { Progress } from "../base/progress.ts";
import { version } from "../base/version.ts";
import { createConnectionPool, type Endpoint, firstModelOf } from "../client/completion-stream.ts";
import type { BenchRecord, BenchStage, RequestRecord } from "../records/bench.ts";
import { runStage } from "./closed-loop.ts";
import { type BenchTarget, measureRequest } from "./measure-request.ts";
import { createWorkload, type Workload } from "./workload.ts";

export interface SweepOptions {
  readonly endpoint: Endpoint;
  /** Null takes the first model that the server lists. */
  readonly model: string | null;
  readonly concurrencies: readonly number[];
  /** Requests of a stage = max(minRequests, requestsPerSeat · concurrency). */
  readonly requestsPerSeat: number;
  readonly minRequests: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly numWarmup: number;
  readonly seed: number;
  /** Vocabulary size for token-id prompts; null sends text. */
  readonly vocabSize: number | null;
  readonly progress: Progress;
  readonly signal?: AbortSignal | undefined;
  /** Receives the raw records of each stage as soon as it ends, so that a later fault loses nothing. */
  readonly onStage?: (stage: BenchStage, records: readonly RequestRecord[]) => void;
}

/**
 * Warm-up, then one closed-loop stage per concurrency.
 *
 * Errors: `endpoint_unreachable`; `endpoint_failed` when the warm-up fails or a stage has no good request.
 */
export async function runSweep(options: SweepOptions): Promise<BenchRecord> {
  const model = options.model ?? (await firstModelOf(options.endpoint));
  // Every request in flight listens for the abort; their number is the load's, not a leak.
  if (options.signal !== undefined) setMaxListeners(0, options.signal);
  const pool = createConnectionPool(Math.max(...options.concurrencies) + 1);
  const target: BenchTarget = { endpoint: options.endpoint, model, pool };
  const workload = createWorkload(options);
  const startedAt = new Date().toISOString();
  const stages: BenchStage[] = [];
  try {
    await warmUp(target, workload, options);
    let firstIndex = options.numWarmup;
    for (const concurrency of options.concurrencies) {
      if (options.signal?.aborted === true) break;
      const numRequests = Math.max(options.minRequests, options.requestsPerSeat * concurrency);
      options.progress.start(`load, ${concurrency} in flight`, numRequests);
      const { stage, records } = await runStage(target, {
        concurrency,
        numRequests,
        firstIndex,
        workload,
        signal: options.signal,
        onRequest: (done) => options.progress.update(done),
      });
      options.signal?.throwIfAborted();
      firstIndex += numRequests;
      options.onStage?.(stage, records);
      stages.push(stage);
      refuseDeadStage(stage, options.endpoint.url);
      options.progress.finish(stageLine(stage));
    }
  } finally {
    await pool.destroy();
  }
  return {
    kind: "bench",
    version,
    startedAt,
    url: options.endpoint.url,
    model,
    machine: `${os.cpus()[0]?.model ?? "unknown"}, ${os.availableParallelism()} cores`,
    workload: {
      inputTokens: options.inputTokens,
      outputTokens: options.outputTokens,
      promptForm: workload.promptForm,
      seed: options.seed,
      numWarmup: options.numWarmup,
    },
    stages,
  };
}

async function warmUp(target: BenchTarget, workload: Workload, options: SweepOptions): Promise<void> {
  options.progress.start("warm-up", options.numWarmup);
  for (let index = 0; index < options.numWarmup; index += 1) {
    const record = await measureRequest(target, {
      index,
      prompt: workload.prompt(index),
      outputTokens: workload.outputTokens,
      originMs: performance.now(),
      signal: options.signal,
    });
    if (record.error !== null) {
      throw new MillraceError(
        "endpoint_failed",
        `${target.endpoint.url} failed at the warm-up: ${record.error}. Check the server's log; it must take streaming POST /v1/completions.`,
      );
    }
    options.progress.update(index + 1);
  }
  options.progress.finish("warm-up done");
}

function refuseDeadStage(stage: BenchStage, url: string): void {
  if (stage.numErrors < stage.numRequests) return;
  throw new MillraceError(
    "endpoint_failed",
    `All ${stage.numRequests} requests at ${stage.concurrency} in flight to ${url} failed; the first: ${stage.firstError}. The stages before are kept; look at the server's log and run again.`,
  );
}

function stageLine(stage: BenchStage): string {
  const errors = stage.numErrors === 0 ? "" : `, ${stage.numErrors} errors`;
  const busy = stage.clientCpuShare > 0.7 ? ", client nearly saturated" : "";
  return `${stage.concurrency} in flight: ${stage.outputTokensPerSecond.toFixed(1)} output tokens/s, TTFT p50 ${stage.ttftMs?.p50.toFixed(0)} ms, ITL p50 ${stage.itlMs?.p50.toFixed(1)} ms${errors}${busy}`;
}
