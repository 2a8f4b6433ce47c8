import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { Clock } from "../base/clock.ts";
import type { ErrorCode } from "../base/error-catalogue.ts";
import { AdapterMetrics } from "./adapters/adapter-metrics.ts";
import { EngineMetrics, labelNames, labelsOf } from "./engine-metrics.ts";
import type { ModelPool } from "./pool/model-pool.ts";
import { type SequenceListener, SequenceTimes } from "./sequence-times.ts";
import type { ServedModel } from "./served-model.ts";
import type { ModelEntry } from "./server-context.ts";

/** A sequence as it begins. */
interface OpenedSequence {
  readonly numPromptTokens: number;
  readonly maxTokens: number;
  /** When its request came, by the server's clock. */
  readonly arrivedAt: number;
}

type Labels = ReturnType<typeof labelsOf>;
type TimedEnd = Parameters<SequenceListener["onEnd"]>[0];
type Phase =
  | "firstToken"
  | "betweenTokens"
  | "perToken"
  | "e2e"
  | "queue"
  | "prefill"
  | "inference"
  | "decode";
type Size = "prompt" | "computed" | "generation" | "mostGenerated" | "maxTokens" | "n";
type Times = Readonly<Record<Phase, Histogram>>;

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

const httpEdges = [0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60];

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
  readonly #engines: EngineMetrics;
  readonly #adapters: AdapterMetrics;
  readonly #counters: Readonly<
    Record<
      "prompt" | "cached" | "bySource" | "generation" | "success" | "errors" | "http" | "httpErrors",
      Counter
    >
  >;
  readonly #times: Times;
  readonly #httpTime: Histogram;
  #sizes: Readonly<Record<Size, Histogram>> | null = null;
  #models: readonly ModelEntry[] = [];
  #pool: ModelPool | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#engines = new EngineMetrics(this.registry);
    this.#adapters = new AdapterMetrics(this.registry);
    this.#counters = {
      prompt: this.#counter("vllm:prompt_tokens_total", "Prompt tokens processed."),
      cached: this.#counter("vllm:prompt_tokens_cached_total", "Prompt tokens that came from the cache."),
      bySource: this.#counter(
        "vllm:prompt_tokens_by_source_total",
        "Prompt tokens by where their KV came from.",
        ["source"],
      ),
      generation: this.#counter("vllm:generation_tokens_total", "Tokens generated."),
      success: this.#counter("vllm:request_success_total", "Sequences by how they ended.", [
        "finished_reason",
      ]),
      errors: this.#counter("millrace:request_errors_total", "Sequences that an error ended, by its code.", [
        "reason",
      ]),
      httpErrors: new Counter({
        name: "millrace:http_errors_total",
        help: "HTTP requests that were answered with an error object, by route and its code.",
        labelNames: ["handler", "reason"],
        registers: [this.registry],
      }),
      http: new Counter({
        name: "http_requests_total",
        help: "HTTP requests by method, route and status.",
        labelNames: ["method", "handler", "status"],
        registers: [this.registry],
      }),
    };
    this.#times = this.#createTimes();
    this.#httpTime = new Histogram({
      name: "http_request_duration_seconds",
      help: "Time of HTTP requests by method and route, until the answer was complete or its stream began.",
      labelNames: ["method", "handler"],
      buckets: httpEdges,
      registers: [this.registry],
    });
    this.#addProcessGauges();
  }

  /** @param pool null where engines are never put away */
  setModels(models: readonly ModelEntry[], pool: ModelPool | null): void {
    this.#models = models;
    this.#pool = pool;
    if (this.#sizes !== null) return;
    const edges = countEdges(Math.max(1, ...models.map(({ model }) => model.client.info.maxModelLen)));
    this.#sizes = {
      prompt: this.#histogram("vllm:request_prompt_tokens", "Prompt tokens per sequence.", edges),
      generation: this.#histogram("vllm:request_generation_tokens", "Generated tokens per sequence.", edges),
      computed: this.#histogram(
        "vllm:request_prefill_kv_computed_tokens",
        "Prompt tokens per sequence that did not come from the cache.",
        edges,
      ),
      mostGenerated: this.#histogram(
        "vllm:request_max_num_generation_tokens",
        "Generated tokens of a request's longest sequence.",
        edges,
      ),
      maxTokens: this.#histogram("vllm:request_params_max_tokens", "Asked max_tokens per sequence.", edges),
      n: this.#histogram("vllm:request_params_n", "Asked n per request.", [1, 2, 5, 10, 20]),
    };
  }

  /** A sequence that begins now. It must be ended once, whatever becomes of it. */
  openSequence(model: ServedModel, { numPromptTokens, maxTokens, arrivedAt }: OpenedSequence): SequenceTimes {
    const labels = labelsOf(model);
    this.#sizes?.maxTokens.observe(labels, maxTokens);
    this.#adapters.open(model);
    return new SequenceTimes(this.#clock, arrivedAt, {
      onFirst: (seconds) => {
        this.#adapters.begin(model);
        this.#counters.prompt.inc(labels, numPromptTokens);
        this.#times.firstToken.observe(labels, seconds);
      },
      onNext: (seconds) => this.#times.betweenTokens.observe(labels, seconds),
      onTokens: (count) => this.#counters.generation.inc(labels, count),
      onEnd: (end) => {
        this.#adapters.close(model, end.firstSeconds !== null);
        this.#counters.success.inc({ ...labels, finished_reason: end.reason });
        if (end.errorCode !== null) this.#counters.errors.inc({ ...labels, reason: end.errorCode });
        this.#times.e2e.observe(labels, end.seconds);
        this.#sizes?.prompt.observe(labels, numPromptTokens);
        this.#sizes?.generation.observe(labels, end.numTokens);
        this.#sizes?.computed.observe(labels, Math.max(0, numPromptTokens - end.cachedTokens));
        this.#countSources(labels, numPromptTokens, end.cachedTokens);
        this.#observePhases(labels, end);
      },
    });
  }

  /** A prompt that was scored and begins no sequence. */
  countPrompt(model: ServedModel, numTokens: number, numCached: number): void {
    const labels = labelsOf(model);
    this.#counters.prompt.inc(labels, numTokens);
    this.#countSources(labels, numTokens, numCached);
  }

  #countSources(labels: Labels, numTokens: number, numCached: number): void {
    this.#counters.cached.inc(labels, numCached);
    this.#counters.bySource.inc({ ...labels, source: "local_compute" }, Math.max(0, numTokens - numCached));
    this.#counters.bySource.inc({ ...labels, source: "local_cache_hit" }, numCached);
  }

  /** Tokens that the longest sequence of a request came to. */
  observeLongest(model: ServedModel, numTokens: number): void {
    this.#sizes?.mostGenerated.observe(labelsOf(model), numTokens);
  }

  observeN(model: ServedModel, n: number): void {
    this.#sizes?.n.observe(labelsOf(model), n);
  }

  /** A request that was answered with an error object. */
  countHttpError(handler: string, reason: ErrorCode | "internal"): void {
    this.#counters.httpErrors.inc({ handler, reason });
  }

  /** @param seconds until the answer was complete, or its stream began */
  countHttp(method: string, handler: string, status: number, seconds: number): void {
    this.#counters.http.inc({ method, handler, status: String(status) });
    this.#httpTime.observe({ method, handler }, seconds);
  }

  /** The text of `GET /metrics`. */
  async expose(): Promise<string> {
    await this.#engines.update(this.#models, this.#pool);
    this.#adapters.update(this.#models.map(({ model }) => model));
    return this.registry.metrics();
  }

  /** The parts of a sequence's time; those without a token have none. */
  #observePhases(labels: Labels, end: TimedEnd): void {
    const { queuedMs, firstSeconds, decodeSeconds, numTokens } = end;
    if (firstSeconds === null || decodeSeconds === null) return;
    this.#times.decode.observe(labels, decodeSeconds);
    if (numTokens > 1) this.#times.perToken.observe(labels, decodeSeconds / (numTokens - 1));
    if (queuedMs === null) return;
    const queueSeconds = queuedMs / 1000;
    const prefillSeconds = Math.max(0, firstSeconds - queueSeconds);
    this.#times.queue.observe(labels, queueSeconds);
    this.#times.prefill.observe(labels, prefillSeconds);
    this.#times.inference.observe(labels, prefillSeconds + decodeSeconds);
  }

  #createTimes(): Times {
    const add = (name: string, help: string, edges: number[]): Histogram =>
      this.#histogram(`vllm:${name}_seconds`, help, edges);
    const perToken = "Mean time per output token after the first, per sequence.";
    return {
      firstToken: add("time_to_first_token", "Time to first token.", firstTokenEdges),
      betweenTokens: add(
        "inter_token_latency",
        "Time between two outputs of a sequence.",
        betweenTokensEdges,
      ),
      perToken: add("request_time_per_output_token", perToken, betweenTokensEdges),
      e2e: add("e2e_request_latency", "Time from arrival to the end.", requestEdges),
      queue: add("request_queue_time", "Time from arrival to the first step.", requestEdges),
      prefill: add("request_prefill_time", "Time from the first step to the first token.", requestEdges),
      inference: add("request_inference_time", "Time from the first step to the last token.", requestEdges),
      decode: add("request_decode_time", "Time from first to last token.", requestEdges),
    };
  }

  #counter(name: string, help: string, more: readonly string[] = []): Counter {
    return new Counter({ name, help, labelNames: [...labelNames, ...more], registers: [this.registry] });
  }

  #histogram(name: string, help: string, buckets: number[]): Histogram {
    return new Histogram({ name, help, labelNames: [...labelNames], buckets, registers: [this.registry] });
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
