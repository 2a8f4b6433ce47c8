import { expect, test } from "vitest";
import { madeUpRequest } from "../../tests/load-stage.ts";
import { parseMetrics } from "../client/server-metrics.ts";
import { adviceFor } from "./server-watch.ts";

test("reads Prometheus's text and sums over labels", () => {
  const text = `# HELP vllm:num_requests_running Running.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="a b"} 3
vllm:num_requests_running{engine="1",model_name="{x}"} 4.0
vllm:num_preemptions_total 1e2
broken NaN
`;
  const sample = parseMetrics(text);
  expect(Object.fromEntries(sample)).toEqual({
    "vllm:num_requests_running": 7,
    "vllm:num_preemptions_total": 100,
  });
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
