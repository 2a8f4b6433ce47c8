import type { Endpoint } from "./endpoint.ts";
import { exchangeText } from "./exchange-text.ts";

/** Figures of a server's `GET /metrics`, by name, summed over labels. */
export type MetricSample = ReadonlyMap<string, number>;

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
  const sums = new Map<string, number>();
  for (const line of text.split("\n")) {
    const match = /^([A-Za-z_:][\w:]*)(?:\{.*\})?\s+(\S+)/.exec(line);
    const value = Number(match?.[2]);
    if (match !== null && Number.isFinite(value)) sums.set(match[1]!, (sums.get(match[1]!) ?? 0) + value);
  }
  return sums;
}
