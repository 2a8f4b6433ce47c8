import { setMaxListeners } from "node:events";
import type { Endpoint } from "../client/endpoint.ts";
import { firstModelOf } from "../client/served-models.ts";
import type { BenchRecord, BenchStage, RateStage, RequestRecord } from "../records/bench.ts";
import type { BenchOptions } from "./bench-options.ts";
import { runClosedStage } from "./closed-loop.ts";
import { LoadThreads } from "./load-threads.ts";
import type { Load } from "./loads.ts";
import { runRateStage } from "./open-loop.ts";
import type { StageOutcome, StageTools } from "./run-stage.ts";
import { readAllMetrics, ServerWatch } from "./server-watch.ts";
import { type SessionTarget, warmUp, warmupsOf } from "./warm-up.ts";
import { whenReady } from "./when-ready.ts";
import { choosePrompts } from "./workload/choose-prompts.ts";
import { fixedLength } from "./workload/length-range.ts";
import type { PromptSource } from "./workload/synthetic-workload.ts";
import { TraceLengths } from "./workload/trace-lengths.ts";
import { createWorkload, type Workload, type WorkloadSpec } from "./workload/workload.ts";

export interface StageResult {
  readonly stage: BenchStage | RateStage;
  readonly records: readonly RequestRecord[];
}

type SessionOptions = BenchOptions & { readonly trace: TraceLengths | null };

/** A server that is warmed up and ready to be loaded, one stage after the other. */
export class BenchSession {
  readonly target: SessionTarget;
  readonly #client: LoadThreads;
  readonly #options: SessionOptions;
  readonly #workload: Workload;
  #nextIndex: number;
  /** Whether the servers have metrics; null before anybody asked. */
  #hasMetrics: boolean | null = null;

  /**
   * Finds the model, makes the prompts and sends the warm-up.
   *
   * Errors: `endpoint_unreachable`; `endpoint_failed` when the warm-up fails; the signal's reason.
   */
  static async open(given: BenchOptions): Promise<BenchSession> {
    const options = { ...given, numWarmup: warmupsOf(given) };
    const { endpoint, moreEndpoints = [], signal, continuousUsage = false, extraBody = {} } = given;
    const readyByMs = performance.now() + (options.readyTimeoutMs ?? 0);
    const needsList = options.model === null || options.lengths !== undefined;
    const listed =
      (await whenReady(options)) ??
      (needsList
        ? await firstModelOf(endpoint, { signal, timeoutMs: options.timeoutMs || undefined })
        : null);
    const model = options.model ?? listed!.id;
    if (signal !== undefined) setMaxListeners(0, signal);
    const trace =
      options.lengths === undefined ? null : new TraceLengths(options.lengths, listed!.maxModelLen);
    const first = createWorkload(await workloadSpecOf(options, model, trace));
    const endpoints: readonly Endpoint[] = [endpoint, ...moreEndpoints];
    const target = { endpoints, model, continuousUsage, extraBody, timeoutMs: options.timeoutMs };
    const client = new LoadThreads(options.numThreads ?? 1, { ...target, workload: first.spec }, signal);
    try {
      const workload = await warmUp(client, first, { ...options, target, readyByMs });
      if (workload !== first) client.setWorkload(workload.spec);
      return new BenchSession({ target, client, workload }, { ...options, trace });
    } catch (error) {
      await client.close();
      throw error;
    }
  }

  private constructor(
    parts: { readonly target: SessionTarget; readonly client: LoadThreads; readonly workload: Workload },
    options: SessionOptions,
  ) {
    this.target = parts.target;
    this.#client = parts.client;
    this.#workload = parts.workload;
    this.#options = options;
    this.#nextIndex = options.numWarmup;
  }

  /** Runs one load. Its prompts are its own, unless `firstIndex` says which to repeat. */
  async run(
    load: Load,
    more: { firstIndex?: number; onRequest?: (done: number) => void } = {},
  ): Promise<StageResult> {
    const { seed, targets = [], maxSeconds = null, trace } = this.#options;
    const firstIndex = more.firstIndex ?? this.#nextIndex;
    const isTrace = load.kind === "rate" && load.plan.arrivals.kind === "times";
    const tools: StageTools = {
      client: this.#client,
      firstIndex: isTrace && trace !== null ? trace.startFrom(firstIndex) : firstIndex,
      maxSeconds,
      targets,
      watchServer: () => this.#watchServer(),
      onRequest: more.onRequest,
    };
    const { stage, records, nextIndex }: StageOutcome<BenchStage | RateStage> =
      load.kind === "closed"
        ? await runClosedStage(load.plan, tools)
        : await runRateStage(trace?.loadOf(load.plan) ?? load.plan, seed, tools);
    this.#nextIndex = Math.max(this.#nextIndex, nextIndex);
    return { stage, records };
  }

  /** First prompt that no load has used. */
  get nextIndex(): number {
    return this.#nextIndex;
  }

  /** What its prompts are made of, after the warm-up; undefined for those of a file. */
  get prompts(): PromptSource | undefined {
    const { spec } = this.#workload;
    return spec.kind === "file" ? undefined : spec.prompts;
  }

  describeWorkload(): BenchRecord["workload"] {
    const { numWarmup, seed, trace } = this.#options;
    const { promptForm, numWords, sharesPrefixes, inputTokens, outputTokens } = this.#workload;
    const leftOut =
      trace === null || trace.numLeftOut === 0
        ? ""
        : `; ${trace.numLeftOut} more ${trace.numLeftOut === 1 ? "is" : "are"} left out, as the server's context does not hold ${trace.numLeftOut === 1 ? "it" : "them"}`;
    const description = `${this.#workload.description}${leftOut}`;
    return {
      inputTokens,
      outputTokens,
      promptForm,
      numWords,
      seed,
      numWarmup,
      description,
      caches: sharesPrefixes ? "shared" : (this.#options.caches ?? "cold"),
    };
  }

  async close(): Promise<void> {
    await this.#client.close();
  }

  async #watchServer(): Promise<ServerWatch> {
    const first = this.#hasMetrics === false ? null : await readAllMetrics(this.target.endpoints);
    // A server without them is not asked again and again.
    this.#hasMetrics = first !== null;
    const isCold = !this.#workload.sharesPrefixes && this.#options.caches !== "primed";
    return new ServerWatch(this.target.endpoints, isCold, first);
  }
}

async function workloadSpecOf(
  options: BenchOptions,
  model: string,
  trace: TraceLengths | null,
): Promise<WorkloadSpec> {
  const { seed, file, chat = false, synthetic, salt = null } = options;
  if (file !== undefined) return { kind: "file", seed, chat, ...file };
  return {
    kind: "synthetic",
    seed,
    prompts: await choosePrompts(options, model),
    input: synthetic?.input ?? fixedLength(options.inputTokens),
    output: synthetic?.output ?? fixedLength(options.outputTokens),
    lengths: trace?.kept ?? null,
    turns: synthetic?.turns ?? 1,
    chat,
    sharedPrefix: synthetic?.sharedPrefix ?? null,
    salt,
  };
}
