import type { Endpoint } from "./endpoint.ts";
import { exchangeText } from "./exchange-text.ts";

/** What has one name in a server's metrics: a series for each engine or model, told apart by labels. */
export interface MetricFamily {
  readonly sum: number;
  readonly numSeries: number;
}

/** Figures of a server's `GET /metrics`, by name. */
export type MetricSample = ReadonlyMap<string, MetricFamily>;

/** A look may not hold up the load for longer. */
const timeoutMs = 2000;

/** What a server's `GET /metrics` says now; null where it has no such page. */
export async function readServerMetrics(endpoint: Endpoint): Promise<MetricSample | null> {
  try {
    const { status, text } = await exchangeText(endpoint, { path: "/metrics", timeoutMs });
    const sample = status === 200 ? parseMetrics(text) : null;
    return sample === null || sample.size === 0 ? null : sample;
  } catch {
    // A server that is busy, gone or without TLS tells nothing; the load itself says so.
    return null;
  }
}

/** Reads Prometheus's text format 0.0.4: `name{labels} value`. */
export function parseMetrics(text: string): MetricSample {
  const sample = new Map<string, MetricFamily>();
  for (const line of text.split("\n")) {
    const match = /^([A-Za-z_:][\w:]*)(?:\{.*\})?\s+(\S+)/.exec(line);
    const sum = Number(match?.[2]);
    if (match !== null && Number.isFinite(sum)) addFamily(sample, match[1]!, { sum, numSeries: 1 });
  }
  return sample;
}

/** What several servers say together. */
export function mergeSamples(samples: readonly MetricSample[]): MetricSample {
  const merged = new Map<string, MetricFamily>();
  for (const sample of samples) for (const [name, family] of sample) addFamily(merged, name, family);
  return merged;
}

function addFamily(sample: Map<string, MetricFamily>, name: string, { sum, numSeries }: MetricFamily): void {
  const before = sample.get(name) ?? { sum: 0, numSeries: 0 };
  sample.set(name, { sum: before.sum + sum, numSeries: before.numSeries + numSeries });
}
