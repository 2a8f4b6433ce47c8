import { setMaxListeners } from "node:events";
import { isMillraceError, MillraceError } from "../base/errors.ts";
import type { Progress } from "../base/progress.ts";
import { createConnectionPool } from "../client/completion-stream.ts";
import { type Endpoint, firstModelOf, tokenizeRemotely } from "../client/endpoint.ts";
import type { BenchRecord, BenchStage, LoadFigures, RateStage, RequestRecord } from "../records/bench.ts";
import { startOrigin } from "../records/origin.ts";
import type { ArrivalPattern } from "./arrivals.ts";
import { runStage, type StageOutcome, type StagePlan } from "./closed-loop.ts";
import { type BenchTarget, measureRequest } from "./measure-request.ts";
import { runRateStage } from "./open-loop.ts";
import { relativeSpread } from "./ratio-interval.ts";
import { calibrateWords, createWorkload, type PromptSource, type Workload, wordText } from "./workload.ts";

/** What stages of both kinds are given. */
type SharedPlan = Omit<StagePlan, "concurrency" | "minSeconds">;

/** A stage in which requests come when they are due. */
export interface RateLoad {
  readonly arrivals: ArrivalPattern;
  readonly numRequests: number;
  /** Most requests in flight; null for no limit. */
  readonly maxConcurrency: number | null;
}

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
  /** Stages with a request rate, after those of the closed loop. */
  readonly rates?: readonly RateLoad[];
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
  readonly onStage?: (stage: BenchStage | RateStage, records: readonly RequestRecord[]) => void;
}

/**
 * Warm-up, then one closed-loop stage per concurrency and one open-loop stage per rate.
 *
 * Errors: `endpoint_unreachable`; `endpoint_failed` when the warm-up fails, a stage has no good request or the server
 * is gone after one; the signal's reason.
 */
export async function runSweep(options: SweepOptions): Promise<BenchRecord> {
  const { endpoint, signal } = options;
  const model = options.model ?? (await firstModelOf(endpoint, signal)).id;
  // Every request in flight listens for the abort; their number is the load's, not a leak.
  if (signal !== undefined) setMaxListeners(0, signal);
  const first = createWorkload({ ...options, prompts: await choosePrompts(options, model) });
  const pool = createConnectionPool(mostInFlight(options));
  const finishOrigin = startOrigin(options.kernels ?? null);
  try {
    const target: BenchTarget = { endpoint, model, pool };
    const workload = await warmUp(target, first, options);
    const stages = await runStages(target, workload, options);
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
      ...stages,
    };
  } finally {
    await pool.destroy();
  }
}

/** Connections that no stage runs out of. */
function mostInFlight({ concurrencies, rates = [] }: SweepOptions): number {
  const atRates = rates.map(({ numRequests, maxConcurrency }) => maxConcurrency ?? numRequests);
  return Math.max(1, ...concurrencies, ...atRates) + 1;
}

async function runStages(
  target: BenchTarget,
  workload: Workload,
  options: SweepOptions,
): Promise<Pick<BenchRecord, "stages" | "rates">> {
  const { signal, progress } = options;
  let firstIndex = options.numWarmup;
  const runOne = async <S extends BenchStage | RateStage>(
    name: string,
    numRequests: number,
    run: (shared: SharedPlan) => Promise<StageOutcome<S>>,
  ): Promise<S> => {
    progress.start(`load, ${name}`, numRequests);
    const onRequest = (done: number): void =>
      progress.update(Math.min(done, numRequests), `${done} requests`);
    const { stage, records } = await run({ numRequests, firstIndex, workload, signal, onRequest });
    signal?.throwIfAborted();
    // A request that was not sent has its prompt too.
    firstIndex += records.length + stage.client.numUnsent;
    options.onStage?.(stage, records);
    await refuseLostServer(stage, name, options);
    progress.finish(`${name}: ${stageText(stage)}`);
    return stage;
  };
  const stages: BenchStage[] = [];
  for (const concurrency of options.concurrencies) {
    const numRequests = Math.max(options.minRequests, options.requestsPerSeat * concurrency);
    const { minSeconds } = options;
    stages.push(
      await runOne(`${concurrency} in flight`, numRequests, (shared) =>
        runStage(target, { concurrency, minSeconds, ...shared }),
      ),
    );
  }
  const rates: RateStage[] = [];
  for (const { arrivals, numRequests, maxConcurrency } of options.rates ?? []) {
    rates.push(
      await runOne(rateName(arrivals.requestRate), numRequests, (shared) =>
        runRateStage(target, { arrivals, maxConcurrency, ...shared }),
      ),
    );
  }
  return { stages, rates };
}

function rateName(requestRate: number): string {
  return requestRate === Number.POSITIVE_INFINITY ? "all at once" : `${requestRate} requests/s`;
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
      dueMs: null,
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
async function refuseLostServer(
  stage: BenchStage | RateStage,
  name: string,
  options: SweepOptions,
): Promise<void> {
  if (stage.numErrors === 0) return;
  const { url } = options.endpoint;
  const failed = `${stage.numErrors} of ${stage.numRequests} requests to ${url} failed (${name}). The first: ${sentence(stage.firstError!)}`;
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

function stageText(stage: BenchStage | RateStage): string {
  const errors = stage.numErrors === 0 ? "" : `, ${stage.numErrors} errors`;
  const { faults } = stage.client;
  const invalid = faults.length === 0 ? "" : `; does not count: ${faults.join(", ")}`;
  return `${stage.outputTokensPerSecond.toFixed(1)} output tokens/s${spreadText(stage)}, TTFT p50 ${stage.ttftMs?.p50.toFixed(0) ?? "–"} ms, TPOT p50 ${stage.tpotMs?.p50.toFixed(1) ?? "–"} ms${errors}${invalid}`;
}

/** Where the raw records of a stage are kept. */
export function recordsFile(stage: BenchStage | RateStage): string {
  const name = "concurrency" in stage ? `c${stage.concurrency}` : `r${stage.requestRate}`;
  return `requests_${name}.jsonl`;
}

/** The spread of the throughput as " ± 3 %"; nothing for a stage with fewer than two slices. */
export function spreadText(stage: LoadFigures): string {
  const spread = relativeSpread(stage.slices.map((slice) => slice.outputTokensPerSecond));
  return spread === null ? "" : ` ± ${(100 * spread).toFixed(spread < 0.1 ? 1 : 0)} %`;
}
