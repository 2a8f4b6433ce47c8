import fc from "fast-check";
import { expect, test } from "vitest";
import { createServedFake, replying } from "../../tests/served-fake.ts";
import { MillraceError } from "../base/errors.ts";
import { stepTokenEdges } from "../protocol/engine-client.ts";
import { createServerApp } from "./app.ts";
import { ServerContext } from "./server-context.ts";

/** Sum of all lines of one metric whose labels hold `label`. */
function sumOf(text: string, name: string, label = ""): number {
  return text
    .split("\n")
    .filter((line) => (line.startsWith(`${name}{`) || line.startsWith(`${name} `)) && line.includes(label))
    .reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}

test("every sequence counts in exactly one outcome, and every error under its code", async () => {
  const codes = ["engine_overloaded", "deadline_exceeded", "engine_failed"] as const;
  const kinds = fc.constantFrom("fine", "dropped", ...codes);
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ kind: kinds, at: fc.nat(2), n: fc.integer({ min: 1, max: 3 }) }), {
        maxLength: 6,
      }),
      async (requests) => {
        // The first prompt byte is the request's place in the list.
        const plan = (ids: readonly number[] | Int32Array) => requests[ids[0]!]!;
        const fake = createServedFake({
          ...replying("abcdef"),
          fail: ({ promptTokenIds }, index) => {
            const { kind, at } = plan(promptTokenIds);
            const isDue = kind !== "fine" && kind !== "dropped" && index === at;
            return isDue ? new MillraceError(kind, "x") : undefined;
          },
        });
        const app = createServerApp(new ServerContext({ models: [fake.model] }));
        for (const [place, { kind, n }] of requests.entries()) {
          const body = JSON.stringify({ prompt: [place], max_tokens: 4, n, temperature: 1 });
          const controller = new AbortController();
          const { signal } = controller;
          const answer = app.request("/v1/completions", { method: "POST", body, signal });
          if (kind === "dropped") setImmediate(() => controller.abort());
          await answer;
        }
        const text = await (await app.request("/metrics")).text();
        const numOpened = sumOf(text, "vllm:request_params_max_tokens_count");
        expect(numOpened).toBe(requests.reduce((sum, { n }) => sum + n, 0));
        expect(sumOf(text, "vllm:request_success_total")).toBe(numOpened);
        expect(sumOf(text, "vllm:e2e_request_latency_seconds_count")).toBe(numOpened);
        const numErrors = sumOf(text, "vllm:request_success_total", 'finished_reason="error"');
        expect(sumOf(text, "millrace:request_errors_total")).toBe(numErrors);
        for (const code of codes) {
          const isIn = requests.some(({ kind }) => kind === code);
          expect(sumOf(text, "millrace:request_errors_total", `reason="${code}"`) > 0).toBe(isIn);
        }
      },
    ),
    { numRuns: 40 },
  );
});

test("shows the engine's totals as counters that never fall, and its gauges", async () => {
  const { model, client } = createServedFake();
  const stats = await client.stats();
  const app = createServerApp(new ServerContext({ models: [model] }));
  const scrape = async (): Promise<string> => (await app.request("/metrics")).text();
  const first = {
    ...stats,
    numPreemptions: 2,
    prefixCacheQueries: 100,
    prefixCacheHits: 40,
    numSwapped: 1,
    numDraftTokens: 9,
    numAcceptedTokens: 6,
    numSpeculationFailures: 1,
    numDraftTokensPerPos: [5, 4, 0],
    numAcceptedTokensPerPos: [5, 1, 0],
  };
  client.stats = () => Promise.resolve(first);
  let text = await scrape();
  expect(sumOf(text, "vllm:prefix_cache_queries_total")).toBe(100);
  expect(sumOf(text, "vllm:prefix_cache_hits_total")).toBe(40);
  expect(sumOf(text, "vllm:num_preemptions_total")).toBe(2);
  expect(sumOf(text, "vllm:num_requests_swapped")).toBe(1);
  expect(sumOf(text, "vllm:spec_decode_num_accepted_tokens_total")).toBe(6);
  expect(sumOf(text, "millrace:spec_decode_failures_total")).toBe(1);
  const acceptedAt = (position: number): number =>
    sumOf(text, "vllm:spec_decode_num_accepted_tokens_per_pos_total", `position="${position}"`);
  expect([acceptedAt(0), acceptedAt(1)]).toEqual([5, 1]);
  expect(sumOf(text, "millrace:spec_decode_num_draft_tokens_per_pos_total", 'position="1"')).toBe(4);
  expect(text).not.toContain('position="2"');
  text = await scrape();
  expect(sumOf(text, "vllm:prefix_cache_queries_total")).toBe(100);
  const later = { prefixCacheQueries: 130, numSwapped: 0, numAcceptedTokensPerPos: [7, 1, 0] };
  client.stats = () => Promise.resolve({ ...first, ...later });
  text = await scrape();
  expect(sumOf(text, "vllm:prefix_cache_queries_total")).toBe(130);
  expect(sumOf(text, "vllm:num_requests_swapped")).toBe(0);
  expect([acceptedAt(0), acceptedAt(1)]).toEqual([7, 1]);
});

test("counts steps by their tokens as a histogram, and their time by its parts", async () => {
  const { model, client } = createServedFake();
  const numStepsByTokens = [3, 2, ...stepTokenEdges.slice(2).map(() => 0), 1];
  const stats = { ...(await client.stats()), numStepsByTokens, numStepTokens: 20_013 };
  client.stats = () => Promise.resolve({ ...stats, scheduleMs: 10, computeMs: 980, publishMs: 10 });
  const text = await (
    await createServerApp(new ServerContext({ models: [model] })).request("/metrics")
  ).text();
  const upTo = (edge: string): number => sumOf(text, "vllm:iteration_tokens_total_bucket", `le="${edge}"`);
  expect([upTo("1"), upTo("8"), upTo("16384"), upTo("+Inf")]).toEqual([3, 5, 5, 6]);
  expect(sumOf(text, "vllm:iteration_tokens_total_count")).toBe(6);
  expect(sumOf(text, "vllm:iteration_tokens_total_sum")).toBe(20_013);
  expect(text).toContain("# TYPE vllm:iteration_tokens_total histogram");
  expect(sumOf(text, "millrace:step_seconds_total", 'part="compute"')).toBeCloseTo(0.98);
});

test("tells what a request's longest sequence came to, and where prompt tokens came from", async () => {
  const fake = createServedFake({ ...replying("abc"), numCachedTokens: 1 });
  const app = createServerApp(new ServerContext({ models: [fake.model] }));
  const body = JSON.stringify({ prompt: "pq", n: 2, temperature: 1, max_tokens: 9 });
  await app.request("/v1/completions", { method: "POST", body });
  const text = await (await app.request("/metrics")).text();
  expect(sumOf(text, "vllm:request_max_num_generation_tokens_sum")).toBe(4);
  expect(sumOf(text, "vllm:request_max_num_generation_tokens_count")).toBe(1);
  expect(sumOf(text, "vllm:prompt_tokens_by_source_total", 'source="local_cache_hit"')).toBe(2);
  expect(sumOf(text, "vllm:request_prefill_kv_computed_tokens_sum")).toBe(4);
  expect(sumOf(text, "http_request_duration_seconds_count", 'handler="/v1/completions"')).toBe(1);
});

test("splits a sequence's time into waiting, prefill and decode", async () => {
  let now = 1000;
  const fake = createServedFake({
    ...replying("abc"),
    queuedMs: 400,
    numCachedTokens: 1,
    hold: () => {
      now += 1000;
      return undefined;
    },
  });
  const context = new ServerContext({ models: [fake.model], clock: { now: () => now } });
  const app = createServerApp(context);
  const body = JSON.stringify({ prompt: "p", max_tokens: 3 });
  expect((await app.request("/v1/completions", { method: "POST", body })).status).toBe(200);
  const text = await (await app.request("/metrics")).text();
  const seconds = (phase: string): number => sumOf(text, `vllm:request_${phase}_time_seconds_sum`);
  expect(seconds("queue")).toBeCloseTo(0.4);
  expect(seconds("prefill")).toBeCloseTo(0.6);
  expect(seconds("decode")).toBeCloseTo(2);
  expect(seconds("inference")).toBeCloseTo(2.6);
  expect(sumOf(text, "vllm:prompt_tokens_cached_total")).toBe(1);
});

test("counts the tokens of scored prompts by where scoring found them", async () => {
  // What is written after a prompt was scored finds all of it in the cache; that is no saving.
  const fake = createServedFake({
    ...replying("a"),
    numCachedTokens: 3,
    score: () => ({
      logprobs: Float32Array.of(-1, -1, -1),
      argmax: Int32Array.of(66, 67, 68),
      topIds: new Int32Array(0),
      topLogprobs: new Float32Array(0),
      numCachedTokens: 1,
    }),
  });
  const app = createServerApp(new ServerContext({ models: [fake.model] }));
  for (const maxTokens of [0, 1]) {
    // Each prompt is new, as scores are remembered.
    const prompt = [65 + maxTokens, 66, 67, 68];
    const body = JSON.stringify({ prompt, echo: true, logprobs: 0, max_tokens: maxTokens });
    expect((await app.request("/v1/completions", { method: "POST", body })).status).toBe(200);
  }
  const text = await (await app.request("/metrics")).text();
  expect(sumOf(text, "vllm:prompt_tokens_total")).toBe(8);
  expect(sumOf(text, "vllm:prompt_tokens_cached_total")).toBe(2);
  expect(sumOf(text, "vllm:prompt_tokens_by_source_total", 'source="local_compute"')).toBe(6);
  expect(sumOf(text, "vllm:prompt_tokens_by_source_total", 'source="local_cache_hit"')).toBe(2);
});
