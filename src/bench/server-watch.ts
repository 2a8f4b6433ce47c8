import type { Endpoint } from "../client/endpoint.ts";
import { type MetricSample, mergeSamples, readServerMetrics } from "../client/server-metrics.ts";
import type { RequestRecord } from "../records/bench.ts";
import type { ServerFigures, ServerProcess } from "../records/load-figures.ts";
import { findServerProcess, ProcessWatch } from "./server-process.ts";
import { chunkTokensOf } from "./slices.ts";

const intervalMs = 1000;
/**
 * A mean of waiting requests from which on the load is more than the server takes in: one request half of the time, or
 * as many more as they wait less often. A burst that is taken in soon stays below it.
 */
const muchWaiting = 0.5;
const fullKvCache = 0.95;
/** Share above which counts of client and server do not agree. */
const maxCountError = 0.01;
/** Share of prompt tokens above which a cold prefix cache was not cold. */
const maxColdHits = 0.01;
/** Tokens of a prompt that may be in a cache by chance: fewer than a KV block has in most servers. */
const maxChanceHits = 15;

/** Where each figure stands: vLLM's name, then that of llama.cpp's server. */
const names = {
  running: ["vllm:num_requests_running", "llamacpp:requests_processing"],
  waiting: ["vllm:num_requests_waiting", "llamacpp:requests_deferred"],
  kvCacheUsage: ["vllm:kv_cache_usage_perc", "llamacpp:kv_cache_usage_ratio"],
  preemptions: ["vllm:num_preemptions_total"],
  prefixHits: ["vllm:prefix_cache_hits_total"],
  prefixQueries: ["vllm:prefix_cache_queries_total"],
  promptTokens: ["vllm:prompt_tokens_total", "llamacpp:prompt_tokens_total"],
  generationTokens: ["vllm:generation_tokens_total", "llamacpp:tokens_predicted_total"],
  ttftSum: ["vllm:time_to_first_token_seconds_sum"],
  ttftCount: ["vllm:time_to_first_token_seconds_count"],
} as const;
type Figure = keyof typeof names;
/** Figures from 0 to 1. */
const shares: ReadonlySet<Figure> = new Set<Figure>(["kvCacheUsage"]);

/** What a stage learnt of the server. */
export interface ServerFindings {
  readonly server: ServerFigures | null;
  readonly serverProcess: ServerProcess | null;
}

/** Watches servers while a stage loads them: their metrics once a second, and a local one's process. */
export class ServerWatch {
  readonly #endpoints: readonly Endpoint[];
  readonly #isCold: boolean;
  readonly #samples: MetricSample[];
  readonly #process: ProcessWatch | null;
  readonly #timer: NodeJS.Timeout;
  #isLooking = false;

  /**
   * @param isCold prompts are unlike each other, so that the prefix cache should know nothing of them
   * @param first what `readAllMetrics` gave just before
   */
  constructor(endpoints: readonly Endpoint[], isCold: boolean, first: MetricSample | null) {
    this.#endpoints = endpoints;
    this.#isCold = isCold;
    this.#samples = first === null ? [] : [first];
    // What one of several takes is not what the load costs.
    const pid = endpoints.length > 1 ? null : findServerProcess(endpoints[0]!.url);
    this.#process = pid === null || pid === process.pid ? null : new ProcessWatch(pid);
    this.#timer = setInterval(() => {
      this.#process?.sample();
      // One look at a time: a server that is slow to tell is asked less often.
      if (this.#samples.length > 0 && !this.#isLooking) void this.#lookOnce();
    }, intervalMs);
  }

  /** Ends the looks, where nobody will ask for what they found. */
  stop(): void {
    clearInterval(this.#timer);
  }

  async end(records: readonly RequestRecord[]): Promise<ServerFindings> {
    this.stop();
    const serverProcess = this.#process?.end() ?? null;
    // The gauges of a load are those while it lasts: the look before it, one that is open still and the last are not.
    const [first, ...during] = this.#samples;
    if (first === undefined) return { server: null, serverProcess };
    const last = (await readAllMetrics(this.#endpoints)) ?? during.at(-1) ?? first;
    return { server: figuresOf({ first, during, last }, { isCold: this.#isCold, records }), serverProcess };
  }

  async #lookOnce(): Promise<void> {
    this.#isLooking = true;
    const sample = await readAllMetrics(this.#endpoints);
    if (sample !== null) this.#samples.push(sample);
    this.#isLooking = false;
  }
}

interface LoadContext {
  readonly isCold: boolean;
  readonly records: readonly RequestRecord[];
}

interface Looks {
  readonly first: MetricSample;
  readonly during: readonly MetricSample[];
  readonly last: MetricSample;
}

/** What the looks of a load say together. */
export function figuresOf({ first, during, last }: Looks, load: LoadContext): ServerFigures {
  const grown = (figure: Figure): number | null => {
    const [before, after] = [valueOf(first, figure), valueOf(last, figure)];
    return before === null || after === null ? null : after - before;
  };
  const ratio = (over: number | null, under: number | null): number | null =>
    over === null || under === null || under === 0 ? null : over / under;
  const mean = ratio(grown("ttftSum"), grown("ttftCount"));
  const figures = {
    numSamples: during.length,
    running: gaugeOf(during, "running"),
    waiting: gaugeOf(during, "waiting"),
    kvCacheUsage: gaugeOf(during, "kvCacheUsage"),
    preemptions: grown("preemptions"),
    prefixHitRate: ratio(grown("prefixHits"), grown("prefixQueries")),
    promptTokens: grown("promptTokens"),
    generationTokens: grown("generationTokens"),
    meanTtftMs: mean === null ? null : 1000 * mean,
  };
  return { ...figures, advice: adviceFor(figures, load) };
}

/** What all servers say together; null where one says nothing. */
export async function readAllMetrics(endpoints: readonly Endpoint[]): Promise<MetricSample | null> {
  const samples = await Promise.all(endpoints.map(readServerMetrics));
  const known = samples.filter((sample) => sample !== null);
  return known.length === samples.length ? mergeSamples(known) : null;
}

function valueOf(sample: MetricSample, figure: Figure): number | null {
  for (const name of names[figure]) {
    const family = sample.get(name);
    // Counts of several engines, models and servers add up, shares do not.
    if (family !== undefined) return shares.has(figure) ? family.sum / family.numSeries : family.sum;
  }
  return null;
}

function gaugeOf(samples: readonly MetricSample[], figure: Figure): ServerFigures["running"] {
  const values = samples.flatMap((sample) => valueOf(sample, figure) ?? []);
  if (values.length === 0) return null;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return { mean, max: Math.max(...values) };
}

/**
 * Whether prompts were in the prefix cache by more than chance: short ones share their first tokens with some other. By
 * what the answers say of each prompt; where they do not, by the server's metrics, for prompts that are longer than chance.
 */
function wasInCache(prefixHitRate: number | null, records: readonly RequestRecord[]): boolean {
  const counted = records.filter(({ error, promptTokens }) => error === null && promptTokens !== null);
  const numTokens = counted.reduce((sum, { promptTokens }) => sum + promptTokens!, 0);
  const told = counted.flatMap(({ cachedTokens }) => cachedTokens ?? []);
  if (told.length > 0) {
    const numHits = told.filter((hits) => hits > maxChanceHits).reduce((sum, hits) => sum + hits, 0);
    return numHits > maxColdHits * numTokens;
  }
  const isLong = counted.length === 0 || numTokens / counted.length > maxChanceHits + 1;
  return isLong && prefixHitRate !== null && prefixHitRate > maxColdHits;
}

/** What to do about what the server said. */
export function adviceFor(
  figures: Omit<ServerFigures, "advice">,
  { isCold, records }: LoadContext,
): string[] {
  const { waiting, kvCacheUsage, preemptions, prefixHitRate, promptTokens, generationTokens } = figures;
  const advice: string[] = [];
  if (waiting !== null && waiting.mean > muchWaiting) {
    advice.push(
      `${waiting.mean.toFixed(1)} requests waited in the server's queue on average: this is more than it takes in; step down, or let it run more at once`,
    );
  }
  if (preemptions !== null && preemptions > 0) {
    advice.push(
      `${preemptions} times a request lost its KV cache to others: give the server more KV memory, or step down`,
    );
  } else if (kvCacheUsage !== null && kvCacheUsage.max > fullKvCache) {
    advice.push(
      `the KV cache was ${(100 * kvCacheUsage.max).toFixed(0)} % full: longer or more requests will wait`,
    );
  }
  if (isCold && wasInCache(prefixHitRate, records)) {
    advice.push(
      "the prefix cache had parts of prompts that should be unlike each other: TTFT is flattered; see whether others use the server or a chat template begins every prompt, or turn the cache off",
    );
  }
  const isWhole = records.every(({ error, promptTokens: counted }) => error === null && counted !== null);
  const mine = {
    prompt: records.reduce((sum, record) => sum + (record.promptTokens ?? 0), 0),
    output: records.reduce(
      (sum, record) => sum + chunkTokensOf(record).reduce((own, each) => own + each, 0),
      0,
    ),
  };
  for (const [what, theirs, ours] of [
    ["prompt", promptTokens, mine.prompt],
    ["output", generationTokens, mine.output],
  ] as const) {
    if (!isWhole || theirs === null || Math.abs(theirs - ours) <= maxCountError * Math.max(1, ours)) continue;
    advice.push(
      `the server counted ${Math.round(theirs)} ${what} tokens in this time, this client ${Math.round(ours)}: others use it, or it counts otherwise`,
    );
  }
  return advice;
}
