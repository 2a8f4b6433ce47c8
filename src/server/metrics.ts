import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { TextDelta } from "../text/text-stream.ts";
import type { ChoicePlan } from "./generation.ts";
import type { ModelRegistry } from "./served-model.ts";

const labelNames = ["model_name", "engine"] as const;
const engine = "0";

/** Bucket edges as vLLM publishes them, in seconds. */
const ttftBuckets = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560,
];
const itlBuckets = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80];
const e2eBuckets = [
  0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680,
];
const tokenBuckets = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000];

/** Follows one choice from admission to its end. */
export interface RequestObserver {
  onDelta(delta: TextDelta): void;
  /** After the last delta, or when the client went away. */
  onEnd(): void;
}

/** Prometheus metrics under vLLM's names and types, for what exists here. */
export class ServerMetrics {
  readonly registry = new Registry();
  readonly #registers = [this.registry];
  readonly #promptTokens = this.#counter("vllm:prompt_tokens", "Prompt tokens of admitted requests");
  readonly #generationTokens = this.#counter("vllm:generation_tokens", "Generated tokens");
  readonly #success = new Counter({
    name: "vllm:request_success_total",
    help: "Finished requests by reason; abort = the client went away",
    labelNames: [...labelNames, "finished_reason"],
    registers: this.#registers,
  });
  readonly #ttft = this.#histogram("vllm:time_to_first_token_seconds", "Arrival to first token", ttftBuckets);
  readonly #itl = this.#histogram("vllm:inter_token_latency_seconds", "Gap between outputs", itlBuckets);
  readonly #e2e = this.#histogram("vllm:e2e_request_latency_seconds", "Arrival to last token", e2eBuckets);
  readonly #numPrompt = this.#histogram("vllm:request_prompt_tokens", "Prompt tokens of a request", tokenBuckets);
  readonly #numOutput = this.#histogram("vllm:request_generation_tokens", "Tokens generated", tokenBuckets);
  readonly #maxTokens = this.#histogram("vllm:request_params_max_tokens", "max_tokens of a request", tokenBuckets);

  constructor(models: ModelRegistry) {
    collectDefaultMetrics({ register: this.registry });
    this.#addEngineGauges(models);
  }

  observe(modelName: string, choice: ChoicePlan): RequestObserver {
    const labels = { model_name: modelName, engine };
    const arrived = performance.now();
    let last = 0;
    let numTokens = 0;
    let isOver = false;
    this.#promptTokens.inc(labels, choice.promptTokenIds.length);
    this.#numPrompt.observe(labels, choice.promptTokenIds.length);
    this.#maxTokens.observe(labels, choice.sampling.maxTokens);
    const end = (reason: string): void => {
      if (isOver) return;
      isOver = true;
      this.#success.inc({ ...labels, finished_reason: reason });
      this.#e2e.observe(labels, (performance.now() - arrived) / 1000);
      this.#numOutput.observe(labels, numTokens);
    };
    return {
      onDelta: (delta) => {
        const now = performance.now();
        if (delta.tokenIds.length > 0) {
          if (last === 0) this.#ttft.observe(labels, (now - arrived) / 1000);
          else this.#itl.observe(labels, (now - last) / 1000);
          last = now;
          numTokens += delta.tokenIds.length;
          this.#generationTokens.inc(labels, delta.tokenIds.length);
        }
        if (delta.finishReason !== null) end(delta.finishReason);
      },
      onEnd: () => end("abort"),
    };
  }

  #counter(name: string, help: string): Counter<(typeof labelNames)[number]> {
    return new Counter({ name: `${name}_total`, help, labelNames, registers: this.#registers });
  }

  #histogram(name: string, help: string, buckets: number[]): Histogram<(typeof labelNames)[number]> {
    return new Histogram({ name, help, labelNames, buckets, registers: this.#registers });
  }

  /** Gauges are read from the engines when somebody asks. */
  #addEngineGauges(models: ModelRegistry): void {
    const gauge = (name: string, help: string): Gauge<(typeof labelNames)[number]> =>
      new Gauge({ name, help, labelNames, registers: [] });
    const running = gauge("vllm:num_requests_running", "Requests in the running batch");
    const waiting = gauge("vllm:num_requests_waiting", "Requests that wait");
    const usage = gauge("vllm:kv_cache_usage_perc", "Share of KV blocks in use, 0 to 1");
    const preemptions = gauge("vllm:num_preemptions_total", "Sequences that gave their blocks back");
    const collect = async (): Promise<void> => {
      for (const model of models.models) {
        const stats = await model.client.stats();
        const labels = { model_name: model.id, engine };
        running.set(labels, stats.numRunning);
        waiting.set(labels, stats.numWaiting);
        usage.set(labels, 1 - stats.numFreeBlocks / stats.numTotalBlocks);
        preemptions.set(labels, stats.numPreemptions);
      }
    };
    this.#refresh = collect;
    for (const metric of [running, waiting, usage, preemptions]) this.registry.registerMetric(metric);
  }

  #refresh: () => Promise<void> = async () => undefined;

  /** The exposition text. */
  async render(): Promise<string> {
    await this.#refresh();
    return this.registry.metrics();
  }
}
