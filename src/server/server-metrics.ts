import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { Clock } from "../base/clock.ts";
import type { FinishReason } from "../protocol/engine-client.ts";
import type { TextDelta } from "../text/text-stream.ts";
import type { EngineProbe } from "./engine-probe.ts";
import type { ServedModel } from "./served-model.ts";
import { kvCacheUsage } from "./stats-log.ts";

interface MeasuredModel {
  readonly model: ServedModel;
  readonly probe: EngineProbe;
}

const labelNames = ["model_name", "engine"];
// vLLM's edges, in seconds, so that its dashboards work.
const firstTokenEdges = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640,
  2560,
];
const betweenTokensEdges = [
  0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80,
];
const requestEdges = [
  0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680,
];

/** Edges 1, 2, 5, 10, 20, 50 … up to and with the last one not above `max`. */
export function countEdges(max: number): number[] {
  const edges: number[] = [];
  for (let power = 1; power <= max; power *= 10) {
    for (const factor of [1, 2, 5]) if (factor * power <= max) edges.push(factor * power);
  }
  return edges;
}

/** Prometheus metrics of one server, with vLLM's names where the meaning is the same. */
export class ServerMetrics {
  readonly registry: Registry = new Registry();
  readonly #clock: Clock;
  readonly #counters: Readonly<Record<"prompt" | "generation" | "preemptions" | "success" | "http", Counter>>;
  readonly #gauges: Readonly<Record<"running" | "waiting" | "kvUsage" | "cacheConfig" | "memory", Gauge>>;
  readonly #times: Readonly<
    Record<"firstToken" | "betweenTokens" | "perToken" | "e2e" | "decode", Histogram>
  >;
  #sizes: Readonly<Record<"prompt" | "generation" | "maxTokens" | "n", Histogram>> | null = null;
  #models: readonly MeasuredModel[] = [];
  readonly #preemptionsSeen = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#counters = {
      prompt: this.#counter("vllm:prompt_tokens_total", "Prompt tokens processed."),
      generation: this.#counter("vllm:generation_tokens_total", "Tokens generated."),
      preemptions: this.#counter("vllm:num_preemptions_total", "Preemptions of running sequences."),
      success: this.#counter("vllm:request_success_total", "Sequences by how they ended.", [
        "finished_reason",
      ]),
      http: new Counter({
        name: "http_requests_total",
        help: "HTTP requests by method, route and status.",
        labelNames: ["method", "handler", "status"],
        registers: [this.registry],
      }),
    };
    this.#gauges = {
      running: this.#gauge("vllm:num_requests_running", "Sequences in the running batch."),
      waiting: this.#gauge("vllm:num_requests_waiting", "Sequences waiting to run."),
      kvUsage: this.#gauge("vllm:kv_cache_usage_perc", "Share of KV blocks in use, 0 to 1."),
      cacheConfig: this.#gauge("vllm:cache_config_info", "Size and form of the KV cache.", [
        "block_size",
        "num_gpu_blocks",
        "cache_dtype",
      ]),
      memory: this.#gauge("millrace:memory_plan_bytes", "Bytes set aside at start, by what for.", ["part"]),
    };
    this.#times = {
      firstToken: this.#histogram(
        "vllm:time_to_first_token_seconds",
        "Time to first token.",
        firstTokenEdges,
      ),
      betweenTokens: this.#histogram(
        "vllm:inter_token_latency_seconds",
        "Time between two outputs of a sequence.",
        betweenTokensEdges,
      ),
      perToken: this.#histogram(
        "vllm:request_time_per_output_token_seconds",
        "Mean time per output token after the first, per sequence.",
        betweenTokensEdges,
      ),
      e2e: this.#histogram("vllm:e2e_request_latency_seconds", "Time from arrival to the end.", requestEdges),
      decode: this.#histogram(
        "vllm:request_decode_time_seconds",
        "Time from first to last token.",
        requestEdges,
      ),
    };
    this.#addProcessGauges();
  }

  setModels(models: readonly MeasuredModel[]): void {
    this.#models = models;
    if (this.#sizes !== null) return;
    const edges = countEdges(Math.max(1, ...models.map(({ model }) => model.client.info.maxModelLen)));
    this.#sizes = {
      prompt: this.#histogram("vllm:request_prompt_tokens", "Prompt tokens per sequence.", edges),
      generation: this.#histogram("vllm:request_generation_tokens", "Generated tokens per sequence.", edges),
      maxTokens: this.#histogram("vllm:request_params_max_tokens", "Asked max_tokens per sequence.", edges),
      n: this.#histogram("vllm:request_params_n", "Asked n per request.", [1, 2, 5, 10, 20]),
    };
  }

  /** A sequence that begins now. */
  openSequence(model: ServedModel, promptTokens: number, maxTokens: number): SequenceTimes {
    const labels = labelsOf(model);
    this.#sizes?.maxTokens.observe(labels, maxTokens);
    return new SequenceTimes(this.#clock, {
      onFirst: (seconds) => {
        this.#counters.prompt.inc(labels, promptTokens);
        this.#times.firstToken.observe(labels, seconds);
      },
      onNext: (seconds) => this.#times.betweenTokens.observe(labels, seconds),
      onTokens: (count) => this.#counters.generation.inc(labels, count),
      onEnd: (end) => {
        this.#counters.success.inc({ ...labels, finished_reason: end.reason });
        this.#times.e2e.observe(labels, end.seconds);
        this.#sizes?.prompt.observe(labels, promptTokens);
        this.#sizes?.generation.observe(labels, end.numTokens);
        if (end.decodeSeconds === null) return;
        this.#times.decode.observe(labels, end.decodeSeconds);
        if (end.numTokens > 1) this.#times.perToken.observe(labels, end.decodeSeconds / (end.numTokens - 1));
      },
    });
  }

  observeN(model: ServedModel, n: number): void {
    this.#sizes?.n.observe(labelsOf(model), n);
  }

  countHttp(method: string, handler: string, status: number): void {
    this.#counters.http.inc({ method, handler, status: String(status) });
  }

  /** The text of `GET /metrics`. */
  async expose(): Promise<string> {
    for (const { model, probe } of this.#models) {
      const stats = await probe.stats();
      if (stats === null) continue;
      const labels = labelsOf(model);
      this.#gauges.running.set(labels, stats.numRunning);
      this.#gauges.waiting.set(labels, stats.numWaiting);
      this.#gauges.kvUsage.set(labels, kvCacheUsage(stats));
      const { blockSize, numTotalBlocks, kvDtype, memory } = model.client.info;
      this.#gauges.memory.set({ ...labels, part: "weights" }, memory.weights);
      this.#gauges.memory.set({ ...labels, part: "kv_cache" }, memory.kvCache);
      this.#gauges.memory.set({ ...labels, part: "activations" }, memory.arena);
      const cache = { block_size: blockSize, num_gpu_blocks: numTotalBlocks, cache_dtype: kvDtype };
      this.#gauges.cacheConfig.set({ ...labels, ...cache }, 1);
      const seen = this.#preemptionsSeen.get(model.id) ?? 0;
      this.#counters.preemptions.inc(labels, Math.max(0, stats.numPreemptions - seen));
      this.#preemptionsSeen.set(model.id, stats.numPreemptions);
    }
    return this.registry.metrics();
  }

  #counter(name: string, help: string, more: readonly string[] = []): Counter {
    return new Counter({ name, help, labelNames: [...labelNames, ...more], registers: [this.registry] });
  }

  #gauge(name: string, help: string, more: readonly string[] = []): Gauge {
    return new Gauge({ name, help, labelNames: [...labelNames, ...more], registers: [this.registry] });
  }

  #histogram(name: string, help: string, buckets: number[]): Histogram {
    return new Histogram({ name, help, labelNames, buckets, registers: [this.registry] });
  }

  // prom-client's own set wakes the process every 10 ms to watch the event loop; these cost nothing while idle.
  #addProcessGauges(): void {
    const registers = [this.registry];
    const started = Date.now() / 1000 - process.uptime();
    const add = (name: string, help: string, read: () => number): void => {
      const gauge: Gauge = new Gauge({ name, help, registers, collect: () => gauge.set(read()) });
    };
    add("process_start_time_seconds", "Start of the process, Unix time.", () => started);
    add("process_resident_memory_bytes", "Resident memory.", () => process.memoryUsage.rss());
    add("process_cpu_seconds_total", "User and system CPU time.", () => {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1e6;
    });
  }
}

function labelsOf(model: ServedModel): { model_name: string; engine: string } {
  return { model_name: model.id, engine: "0" };
}

interface SequenceListener {
  onFirst(seconds: number): void;
  onNext(seconds: number): void;
  onTokens(count: number): void;
  onEnd(end: {
    readonly reason: FinishReason;
    readonly seconds: number;
    readonly numTokens: number;
    readonly decodeSeconds: number | null;
  }): void;
}

/** Times one sequence, from arrival to its one outcome. */
export class SequenceTimes {
  readonly #clock: Clock;
  readonly #listener: SequenceListener;
  readonly #arrived: number;
  #first: number | null = null;
  #last = 0;
  #numTokens = 0;

  constructor(clock: Clock, listener: SequenceListener) {
    this.#clock = clock;
    this.#listener = listener;
    this.#arrived = clock.now();
  }

  add(delta: TextDelta): void {
    if (delta.tokenIds.length === 0) return;
    const now = this.#clock.now();
    if (this.#first === null) {
      this.#first = now;
      this.#listener.onFirst((now - this.#arrived) / 1000);
    } else {
      this.#listener.onNext((now - this.#last) / 1000);
    }
    this.#last = now;
    this.#numTokens += delta.tokenIds.length;
    this.#listener.onTokens(delta.tokenIds.length);
  }

  end(reason: FinishReason): void {
    this.#listener.onEnd({
      reason,
      seconds: (this.#clock.now() - this.#arrived) / 1000,
      numTokens: this.#numTokens,
      decodeSeconds: this.#first === null ? null : (this.#last - this.#first) / 1000,
    });
  }
}
