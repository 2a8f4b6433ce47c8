import { describe, expect, test } from "vitest";
import { createServedFake, replying } from "../../tests/served-fake.ts";
import { MillraceError } from "../base/errors.ts";
import type { Logger } from "../base/logger.ts";
import { createServerApp } from "./app.ts";
import { openToAllOrigins } from "./cross-origin.ts";
import { ServerContext, type ServerOptions } from "./server-context.ts";
import { mismatchWarning, preemptionAdvice, statsLine } from "./stats-log.ts";

function createApp(options: ServerOptions = {}) {
  const fake = createServedFake(replying("abc"));
  const context = new ServerContext({ models: [fake.model], ...options });
  return { app: createServerApp(context), context, ...fake };
}

const prompt = { method: "POST", body: JSON.stringify({ prompt: "p", max_tokens: 3 }) };

async function errorOf(response: Response): Promise<Record<string, unknown>> {
  const { error } = (await response.json()) as { error: Record<string, unknown> };
  expect(Object.keys(error).sort()).toEqual(["code", "message", "param", "reason", "type"]);
  expect(error["code"]).toBe(response.status);
  return error;
}

describe("errors", () => {
  test("an unknown path is 404 and lists the known ones", async () => {
    const { app } = createApp();
    const error = await errorOf(await app.request("/v2/chat"));
    expect(error).toMatchObject({ code: 404, type: "NotFoundError", reason: "route_not_found" });
    expect(error["message"]).toContain("POST /v1/chat/completions");
    const messageOf = async (path: string) =>
      (await errorOf(await app.request(path, { method: "POST", body: "{}" })))["message"];
    expect(await messageOf("/v1/chat/completion")).toContain(" The nearest is POST /v1/chat/completions. ");
    expect(await messageOf("/chat/completions")).toContain(" The nearest is POST /v1/chat/completions. ");
    expect(await messageOf("/api/tags")).not.toContain("The nearest");
  });

  test("a wrong method is 405 and names the right one", async () => {
    const { app } = createApp();
    const response = await app.request("/v1/completions");
    expect(response.headers.get("allow")).toBe("POST");
    expect(await errorOf(response)).toMatchObject({ code: 405 });
    expect((await app.request("/v1/models", { method: "DELETE" })).status).toBe(405);
  });

  const hostile: [string, string][] = [
    ["no JSON", "{"],
    ["nothing", ""],
    ["a list", "[]"],
    ["null", "null"],
    ["NaN", '{"prompt":"a","temperature":NaN}'],
    ["infinity", '{"prompt":"a","temperature":1e999}'],
    ["deep lists", `{"prompt":${"[".repeat(100_000)}${"]".repeat(100_000)}}`],
    ["deep objects", `{"prompt":"a","metadata":${'{"a":'.repeat(1000)}1${"}".repeat(1000)}}`],
    ["a prototype", '{"prompt":{"__proto__":[1]},"__proto__":{"prompt":"a"}}'],
    ["many faults", `{"prompt":[${"-1,".repeat(200_000)}-1]}`],
  ];
  for (const [name, body] of hostile) {
    test(`a body that holds ${name} is 400`, async () => {
      const { app, client } = createApp();
      expect(await errorOf(await app.request("/v1/completions", { method: "POST", body }))).toMatchObject({
        code: 400,
      });
      expect(client.requests).toHaveLength(0);
    });
  }

  test.each([
    ["", {}, "The body is empty. Send one JSON object."],
    [
      "--x",
      { "content-type": "multipart/form-data; boundary=x" },
      "It is a form, as its content-type says. Send one JSON object.",
    ],
    ["{", { "content-type": "application/json; charset=utf-8" }, "The body is not valid JSON: "],
    [
      Uint8Array.of(123, 34, 0xe9, 34, 125),
      {},
      "The body has bytes that are not UTF-8. Send one JSON object.",
    ],
  ])("a body that cannot be read says why: %j", async (body, headers, says) => {
    const { app } = createApp();
    const error = await errorOf(await app.request("/v1/completions", { method: "POST", body, headers }));
    expect(error).toMatchObject({ code: 400, reason: "malformed_json" });
    expect(error["message"]).toContain(says);
  });

  test("a body above the limit is 413, with and without a content-length", async () => {
    const { app } = createApp({ maxBodyBytes: 100 });
    const text = JSON.stringify({ prompt: "x".repeat(200) });
    const stream = new Blob([text]).stream();
    const init = { method: "POST", body: stream, duplex: "half" } as RequestInit;
    expect(await errorOf(await app.request("/v1/completions", init))).toMatchObject({ code: 413 });
    const headers = { "content-length": String(text.length) };
    expect((await app.request("/v1/completions", { method: "POST", body: text, headers })).status).toBe(413);
  });

  test("an unknown model is 404 in OpenAI's words", async () => {
    const { app } = createApp();
    const body = JSON.stringify({ prompt: "p", model: "gpt-9" });
    const error = await errorOf(await app.request("/v1/completions", { method: "POST", body }));
    expect(error).toMatchObject({ code: 404, type: "NotFoundError", param: "model" });
    expect(error["message"]).toMatch(/^The model `gpt-9` does not exist\./);
  });

  test("a full queue is 503 with retry-after", async () => {
    const overloaded = new MillraceError("engine_overloaded", "Full.", { retryAfterSeconds: 2.5 });
    const fake = createServedFake({ fail: () => overloaded });
    const app = createServerApp(new ServerContext({ models: [fake.model] }));
    const response = await app.request("/v1/completions", prompt);
    expect(response.headers.get("retry-after")).toBe("3");
    expect(await errorOf(response)).toMatchObject({ reason: "engine_overloaded" });
  });

  test("a passed deadline is 504", async () => {
    const late = new MillraceError("deadline_exceeded", "Too late.");
    const fake = createServedFake({ fail: () => late });
    const app = createServerApp(new ServerContext({ models: [fake.model] }));
    const error = await errorOf(await app.request("/v1/completions", prompt));
    expect(error).toMatchObject({ code: 504, type: "GatewayTimeoutError", reason: "deadline_exceeded" });
  });

  test("a fault of ours is 500 without its text, which goes to the log", async () => {
    const lines: string[] = [];
    const note = (_: string, fields?: Record<string, unknown>) => void lines.push(String(fields?.["error"]));
    const logger: Logger = { debug() {}, info() {}, warn() {}, error: note };
    const fake = createServedFake({ fail: () => new Error("secret /path") });
    const app = createServerApp(new ServerContext({ models: [fake.model], logger }));
    const error = await errorOf(await app.request("/v1/completions", prompt));
    expect(error).toMatchObject({ code: 500, type: "InternalServerError" });
    expect(error["message"]).not.toContain("secret");
    expect(lines).toEqual(["secret /path"]);
  });

  test("a stream that ends with an expected error is no fault for the log", async () => {
    const lines: string[] = [];
    const logger: Logger = { debug() {}, info() {}, warn() {}, error: (line) => void lines.push(line) };
    const fail = (code: "deadline_exceeded" | "engine_failed") => (_: unknown, index: number) =>
      index === 1 ? new MillraceError(code, "late") : undefined;
    for (const code of ["deadline_exceeded", "engine_failed"] as const) {
      const fake = createServedFake({ ...replying("abc"), fail: fail(code) });
      const app = createServerApp(new ServerContext({ models: [fake.model], logger }));
      const body = JSON.stringify({ prompt: "p", stream: true });
      const response = await app.request("/v1/completions", { method: "POST", body });
      expect(await response.text()).toContain(code);
    }
    expect(lines).toEqual(["A stream failed."]);
  });
});

describe("dev endpoints", () => {
  test("are there only where they are wanted, and want a key like the others", async () => {
    const post = { method: "POST" };
    const plain = createApp();
    expect((await plain.app.request("/reset_prefix_cache", post)).status).toBe(404);
    expect((await plain.app.request("/debug/steps")).status).toBe(404);
    const { app, client } = createApp({ hasDevEndpoints: true, apiKeys: ["one"] });
    expect((await app.request("/reset_prefix_cache", post)).status).toBe(401);
    expect(client.numCacheResets).toBe(0);
    const headers = { authorization: "Bearer one" };
    expect((await app.request("/reset_prefix_cache", { ...post, headers })).status).toBe(200);
    expect(client.numCacheResets).toBe(1);
    const step = { index: 0, beginMs: 1, durationMs: 2, numTokens: 3, active: [], joined: ["a"], left: [] };
    client.recentSteps = () => Promise.resolve([step]);
    const steps = await app.request("/debug/steps", { headers });
    const shown = {
      index: 0,
      begin_ms: 1,
      duration_ms: 2,
      num_tokens: 3,
      active: [],
      joined: ["a"],
      left: [],
    };
    expect(await steps.json()).toEqual({ data: [{ model: "fake", steps: [shown] }] });
    const requests = await app.request("/debug/requests", { headers });
    expect(await requests.json()).toEqual({ data: [{ model: "fake", requests: [] }] });
    expect((await app.request("/debug/requests")).status).toBe(401);
  });
});

describe("access", () => {
  test("every route but probes and metrics wants one of the keys", async () => {
    const { app } = createApp({ apiKeys: ["one", "two"] });
    const withKey = (key: string): RequestInit => ({ headers: { authorization: key } });
    for (const path of ["/v1/models", "/v1/models/fake", "/tokenizer_info"]) {
      const response = await app.request(path);
      expect(response.headers.get("www-authenticate")).toBe("Bearer");
      expect(await errorOf(response)).toMatchObject({ code: 401, reason: "unauthorized" });
      expect((await app.request(path, withKey("Bearer three"))).status).toBe(401);
      expect((await app.request(path, withKey("Basic one"))).status).toBe(401);
      expect((await app.request(path, withKey("Bearer two"))).status).toBe(200);
    }
    for (const path of ["/v1/completions", "/v1/chat/completions", "/tokenize", "/detokenize"]) {
      expect((await app.request(path, prompt)).status).toBe(401);
    }
    for (const path of ["/health", "/ready", "/live", "/version", "/metrics"]) {
      expect((await app.request(path)).status).toBe(200);
    }
  });

  test("answers cross-origin preflights and echoes a safe request id", async () => {
    const { app } = createApp({ apiKeys: ["key"] });
    const preflight = await app.request("/v1/completions", { method: "OPTIONS" });
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get("access-control-allow-origin")).toBe("*");
    const echoed = await app.request("/health", { headers: { "x-request-id": "abc-1" } });
    expect(echoed.headers.get("x-request-id")).toBe("abc-1");
    const replaced = await app.request("/health", { headers: { "x-request-id": "a b" } });
    expect(replaced.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
  });

  test("only listed origins are allowed where a list is given", async () => {
    const crossOrigin = { ...openToAllOrigins, origins: ["https://a.example"] };
    const { app } = createApp({ crossOrigin });
    const from = async (origin: string) => (await app.request("/health", { headers: { origin } })).headers;
    expect((await from("https://a.example")).get("access-control-allow-origin")).toBe("https://a.example");
    expect((await from("https://b.example")).get("access-control-allow-origin")).toBeNull();
  });

  test("pages that may send credentials are named, and told which headers they may send", async () => {
    const crossOrigin = { ...openToAllOrigins, headers: ["authorization"], allowsCredentials: true };
    const { app } = createApp({ crossOrigin });
    const headers = { origin: "https://a.example", "access-control-request-headers": "x-odd" };
    const answer = (await app.request("/v1/completions", { method: "OPTIONS", headers })).headers;
    expect(answer.get("access-control-allow-origin")).toBe("https://a.example");
    expect(answer.get("access-control-allow-credentials")).toBe("true");
    expect(answer.get("access-control-allow-headers")).toBe("authorization");
    expect(answer.get("vary")).toBe("origin");
  });
});

describe("models and health", () => {
  test("lists every name, also one with slashes", async () => {
    const fake = createServedFake({}, { id: "org/name", aliases: ["short"] });
    const app = createServerApp(new ServerContext({ models: [fake.model] }));
    const { data } = (await (await app.request("/v1/models")).json()) as { data: unknown[] };
    expect(data).toMatchObject([
      { id: "org/name", object: "model", root: "org/name", max_model_len: 2048 },
      { id: "short", root: "org/name" },
    ]);
    for (const path of ["/v1/models/org/name", "/v1/models/org%2Fname"]) {
      expect(await (await app.request(path)).json()).toMatchObject({ id: "org/name" });
    }
    expect((await app.request("/v1/models/other")).status).toBe(404);
  });

  test("is alive but not ready while loading, and both once it has its models", async () => {
    const context = new ServerContext();
    const app = createServerApp(context);
    const status = async (path: string) => (await app.request(path)).status;
    expect(await status("/live")).toBe(200);
    expect(await status("/ready")).toBe(503);
    expect(await errorOf(await app.request("/health"))).toMatchObject({ reason: "server_not_ready" });
    expect(await errorOf(await app.request("/v1/completions", prompt))).toMatchObject({ code: 503 });
    context.setReady([createServedFake().model]);
    for (const path of ["/live", "/ready", "/health"]) expect(await status(path)).toBe(200);
    context.setDraining();
    expect(await status("/live")).toBe(200);
    expect(await status("/health")).toBe(503);
  });

  test("is ill when a step takes too long, when the engine failed, or when it stays silent", async () => {
    const { model, client } = createServedFake();
    let now = 0;
    const options = { models: [model], unhealthyAfterMs: 5_000, clock: { now: () => now } };
    const status = async () => {
      const app = createServerApp(new ServerContext(options));
      return (await app.request("/health")).status;
    };
    const stats = await client.stats();
    client.stats = () => Promise.resolve({ ...stats, lastStepAgeMs: 4_000 });
    expect(await status()).toBe(200);
    client.stats = () => Promise.resolve({ ...stats, lastStepAgeMs: 6_000 });
    expect(await status()).toBe(503);
    client.stats = () => Promise.reject(new Error("gone"));
    expect(await status()).toBe(503);
    client.stats = () => new Promise(() => {});
    const app = createServerApp(new ServerContext(options));
    expect((await app.request("/health")).status).toBe(200);
    now = 6_000;
    expect((await app.request("/health")).status).toBe(503);
  });
});

describe("metrics", () => {
  test("every sequence ends in exactly one outcome", async () => {
    const fake = createServedFake({
      ...replying("abc"),
      fail: (request, i) => (request.promptTokenIds.length === 3 && i === 1 ? new Error("boom") : undefined),
    });
    const app = createServerApp(new ServerContext({ models: [fake.model] }));
    const complete = (body: object) =>
      app.request("/v1/completions", { method: "POST", body: JSON.stringify(body) });
    await complete({ prompt: "p", max_tokens: 3, n: 2 });
    await complete({ prompt: "p" });
    await complete({ prompt: "pp" });
    const text = await (await app.request("/metrics")).text();
    const value = (name: string): number =>
      Number(
        text
          .split("\n")
          .find((line) => line.startsWith(name))
          ?.split(" ")
          .at(-1),
      );
    const labels = 'model_name="fake",engine="0"';
    expect(value(`vllm:request_success_total{${labels},finished_reason="length"}`)).toBe(2);
    expect(value(`vllm:request_success_total{${labels},finished_reason="stop"}`)).toBe(1);
    expect(value(`vllm:request_success_total{${labels},finished_reason="error"}`)).toBe(1);
    expect(value(`vllm:e2e_request_latency_seconds_count{${labels}}`)).toBe(4);
    expect(value(`vllm:time_to_first_token_seconds_count{${labels}}`)).toBe(4);
    expect(value(`vllm:prompt_tokens_total{${labels}}`)).toBe(2 + 2 + 2 + 3);
    expect(value(`vllm:generation_tokens_total{${labels}}`)).toBe(3 + 3 + 4 + 1);
    expect(value(`vllm:inter_token_latency_seconds_count{${labels}}`)).toBe(2 + 2 + 3);
    expect(value(`vllm:num_requests_running{${labels}}`)).toBe(0);
    expect(value(`vllm:kv_cache_usage_perc{${labels}}`)).toBe(0);
    const { kvCache } = fake.model.client.info.memory;
    expect(value(`millrace:memory_bytes{${labels},part="kv_cache"}`)).toBe(kvCache);
    expect(value('http_requests_total{method="POST",handler="/v1/completions",status="500"}')).toBe(1);
  });

  test("the log line has the words that scripts look for", async () => {
    const before = await createServedFake().client.stats();
    const after = {
      ...before,
      promptTokens: 100,
      generationTokens: 50,
      numRunning: 2,
      numWaiting: 1,
      numFreeBlocks: 512,
    };
    expect(statsLine(0, before, after, 10)).toBe(
      "Engine 000: Avg prompt throughput: 10.0 tokens/s, Avg generation throughput: 5.0 tokens/s, " +
        "Running: 2 reqs, Waiting: 1 reqs, KV cache usage: 50.0%, Prefix cache hit rate: 0.0%",
    );
    const hits = { ...after, prefixCacheQueries: 400, prefixCacheHits: 100 };
    expect(statsLine(0, before, hits, 10)).toMatch(/Prefix cache hit rate: 25\.0%$/);
    const later = { ...hits, prefixCacheQueries: 500, prefixCacheHits: 200 };
    expect(statsLine(0, hits, later, 10)).toMatch(/Prefix cache hit rate: 100\.0%$/);
  });

  test("preemption brings one line that says what to raise", async () => {
    const before = await createServedFake().client.stats();
    expect(preemptionAdvice(0, before, before)).toBeNull();
    const swapped = { ...before, numPreemptions: 3, numSwappedBlocks: 12 };
    const advice = preemptionAdvice(0, before, swapped)!;
    expect(advice).toContain("3 preemptions, 12 blocks swapped out, 0 tokens to compute again");
    expect(advice).toContain("--kv-cache-memory-bytes");
    expect(advice).not.toContain("--swap-space");
    const recomputed = { ...swapped, numRecomputedTokens: 900 };
    expect(preemptionAdvice(0, before, recomputed)).toContain("--swap-space");
    expect(preemptionAdvice(0, recomputed, recomputed)).toBeNull();
  });

  test("blocks that the check of the prefix cache finds wrong bring a warning", async () => {
    const before = await createServedFake().client.stats();
    expect(mismatchWarning(0, before, before)).toBeNull();
    const after = { ...before, numPrefixMismatches: 2 };
    expect(mismatchWarning(0, before, after)).toContain(
      "found 2 blocks that are not what was computed again",
    );
    expect(mismatchWarning(0, after, after)).toBeNull();
  });
});
