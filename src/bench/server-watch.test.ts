import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { madeUpRequest } from "../../tests/load-stage.ts";
import type { Endpoint } from "../client/endpoint.ts";
import { parseMetrics } from "../client/server-metrics.ts";
import { adviceFor, figuresOf, readAllMetrics } from "./server-watch.ts";

test("reads Prometheus's text, and sums and counts what has one name", () => {
  const text = `# HELP vllm:num_requests_running Running.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="a b"} 3
vllm:num_requests_running{engine="1",model_name="{x}"} 4.0
vllm:num_preemptions_total 1e2
broken NaN
`;
  const sample = parseMetrics(text);
  expect(Object.fromEntries(sample)).toEqual({
    "vllm:num_requests_running": { sum: 7, numSeries: 2 },
    "vllm:num_preemptions_total": { sum: 100, numSeries: 1 },
  });
});

/** A server with these metrics. */
async function listen(text: string): Promise<Endpoint> {
  const server = createServer((_, response) => response.end(text));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

test("counts of engines and servers add up, and shares of their caches do not", async () => {
  const two = `vllm:kv_cache_usage_perc{engine="0"} 0.4
vllm:kv_cache_usage_perc{engine="1"} 0.8
vllm:num_requests_running{engine="0"} 3
vllm:num_requests_running{engine="1"} 4
`;
  const one = `vllm:kv_cache_usage_perc 0.9
vllm:num_requests_running 5
`;
  const sample = (await readAllMetrics([await listen(two), await listen(one)]))!;
  const figures = figuresOf({ first: sample, during: [sample], last: sample }, { isCold: true, records: [] });
  expect(figures.running).toEqual({ mean: 12, max: 12 });
  expect(figures.kvCacheUsage!.max).toBeCloseTo(0.7);
});

const calm = {
  numSamples: 5,
  running: { mean: 4, max: 4 },
  waiting: { mean: 0, max: 0 },
  kvCacheUsage: { mean: 0.3, max: 0.5 },
  preemptions: 0,
  prefixHitRate: 0,
  promptTokens: 80,
  generationTokens: 2,
  meanTtftMs: 20,
};
const requestOf = (promptTokens: number, cachedTokens: number | null = null) =>
  madeUpRequest({ index: 0, sentMs: 0, chunkMs: [1, 2], promptTokens, outputTokens: 2, cachedTokens });
const advice = (more: Partial<typeof calm>, isCold = true, request = requestOf(80)): string =>
  adviceFor({ ...calm, ...more }, { isCold, records: [request] }).join("; ");

test("says what to do where the server had more than it takes in, and nothing where it had not", () => {
  expect(advice({})).toBe("");
  expect(advice({ waiting: { mean: 3.2, max: 9 } })).toMatch(/3\.2 requests waited .*step down/);
  expect(advice({ preemptions: 4 })).toMatch(/4 times a request lost its KV cache/);
  expect(advice({ kvCacheUsage: { mean: 0.9, max: 0.99 } })).toMatch(/99 % full/);
});

test("names a prefix cache that was not cold, unless prompts share beginnings", () => {
  expect(advice({ prefixHitRate: 0.4 })).toMatch(/prefix cache had parts of prompts.*TTFT is flattered/);
  expect(advice({ prefixHitRate: 0.4 }, false)).toBe("");
  expect(advice({}, true, requestOf(80, 32))).toMatch(/TTFT is flattered/);
});

test("tokens that a prompt has in common with another by chance flatter nothing", () => {
  expect(advice({ prefixHitRate: 0.4 }, true, requestOf(80, 4))).toBe("");
  expect(advice({ prefixHitRate: 0.5, promptTokens: 2 }, true, requestOf(2, 1))).toBe("");
  expect(advice({ prefixHitRate: 0.5, promptTokens: 2 }, true, requestOf(2))).toBe("");
});

test("sets the server's count of tokens against the client's", () => {
  expect(advice({ generationTokens: 50 })).toMatch(/counted 50 output tokens in this time, this client 2/);
  expect(advice({ promptTokens: 20 })).toMatch(/counted 20 prompt tokens in this time, this client 80/);
});
