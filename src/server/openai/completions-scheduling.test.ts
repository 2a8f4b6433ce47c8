import { describe, expect, test, vi } from "vitest";
import { type Answer, complete, post, stream } from "../../../tests/served-completions.ts";
import { createServedFake, replying } from "../../../tests/served-fake.ts";
import { MillraceError } from "../../base/errors.ts";
import type { ScoreRequest } from "../../protocol/engine-client.ts";
import { createServerApp } from "../app.ts";
import { ServerContext } from "../server-context.ts";

describe("scheduling and traces", () => {
  test("hands scheduling on under vLLM's names; the header names the tenant before body and user", async () => {
    const fake = createServedFake();
    const send = async (body: object, headers: Record<string, string> = {}) => {
      const response = await post(fake, { prompt: "p", max_tokens: 1, ...body }, { headers });
      expect(response.status).toBe(200);
      const { arrivalMs: _, ...scheduling } = fake.client.requests.at(-1)!.scheduling!;
      return scheduling;
    };
    expect(await send({})).toEqual({});
    expect(await send({ priority: -2, deadline_ms: 1500.5, cache_salt: "s", tenant: "t" })).toEqual({
      priority: -2,
      deadlineMs: 1500.5,
      cacheSalt: "s",
      tenant: "t",
    });
    expect(await send({ user: "u" })).toEqual({ tenant: "u" });
    expect(await send({ user: "u", tenant: "t" })).toEqual({ tenant: "t" });
    expect(await send({ user: "u", tenant: "t" }, { "x-tenant": "h" })).toEqual({ tenant: "h" });
  });

  test("a full queue refuses with the seconds to wait, before any text is read", async () => {
    const stats = { numWaiting: 4096, numDeferred: 96, numWaitingTokens: 12_345, retryAfterSeconds: 7 };
    const { model, client } = createServedFake({ stats });
    const encode = vi.spyOn(model.tokenizer, "encode");
    const context = new ServerContext({ models: [model] });
    const app = createServerApp(context);
    const bodies = {
      "/v1/completions": { prompt: "p" },
      "/v1/chat/completions": { messages: [{ role: "user", content: "p" }] },
    };
    for (const [path, fields] of Object.entries(bodies)) {
      const body = JSON.stringify({ ...fields, stream: true });
      const response = await app.request(path, { method: "POST", body });
      expect([response.status, response.headers.get("retry-after")]).toEqual([503, "7"]);
      const { error } = (await response.json()) as Answer;
      expect(error).toMatchObject({ reason: "engine_overloaded" });
      expect(error?.message).toContain("4,096 requests with 12,345 prompt tokens wait");
    }
    expect(encode).not.toHaveBeenCalled();
    expect(client.requests).toEqual([]);
    const metrics = await context.metrics.expose();
    expect(metrics).toMatch(
      /^millrace:http_errors_total\{handler="\/v1\/completions",reason="engine_overloaded"\} 1$/m,
    );
    expect(metrics).toMatch(/^millrace:num_waiting_tokens\{.*\} 12345$/m);
    expect(metrics).toMatch(/^vllm:num_requests_waiting_by_reason\{.*reason="capacity"\} 4000$/m);
    expect(metrics).toMatch(/^vllm:num_requests_waiting_by_reason\{.*reason="deferred"\} 96$/m);
  });

  test("more answers than the queue ever takes are refused with numbers, not put off", async () => {
    const fake = createServedFake({ info: { maxNumQueuedRequests: 4 } });
    const refused = async (body: object): Promise<Answer["error"]> => {
      const response = await post(fake, body);
      expect([response.status, response.headers.get("retry-after")]).toEqual([400, null]);
      return ((await response.json()) as Answer).error;
    };
    const error = await refused({ prompt: ["a", "b"], n: 3 });
    expect(error?.param).toBe("n");
    expect(error?.message).toContain(
      "asks for 6 answers, 3 to each of 2 prompts; this server takes at most 4 together",
    );
    expect(await refused({ prompt: ["a", "b", "c", "d", "e"] })).toMatchObject({ param: "prompt" });
    expect((await post(fake, { prompt: ["a", "b"], n: 2, max_tokens: 1 })).status).toBe(200);
    const tokens = createServedFake({ info: { maxNumQueuedTokens: 8 } });
    const body = { prompt: ["abc", "def"], max_tokens: 1 };
    const tooMany = (await complete(tokens, { ...body, prompt: ["abc", "defg"] })).error;
    expect(tooMany).toMatchObject({ param: "prompt", code: 400 });
    expect(tooMany?.message).toContain("with 9 prompt tokens in all; the queue takes 8. Split it");
    expect((await post(tokens, body)).status).toBe(200);
    expect((await post(tokens, { ...body, prompt: "longer than that" })).status).toBe(200);
  });

  test("all parts of a request have one arrival, from which its deadline counts", async () => {
    const fake = createServedFake();
    const clock = { now: () => 5000 };
    const body = {
      prompt: ["ab", "cd"],
      echo: true,
      logprobs: 1,
      prompt_logprobs: 1,
      deadline_ms: 100,
      cache_salt: "s",
    };
    expect((await post(fake, body, { clock })).status).toBe(200);
    const { scoreRequests, requests } = fake.client;
    expect([scoreRequests.length, requests.length]).toEqual([4, 2]);
    const scheduling = { arrivalMs: performance.timeOrigin + 5000, deadlineMs: 100, cacheSalt: "s" };
    for (const part of [...scoreRequests, ...requests]) expect(part.scheduling).toEqual(scheduling);
  });

  test("a client that leaves while its answer is written gets none, and its request counts as left", async () => {
    const leaving = new AbortController();
    const hold = (_: unknown, index: number): Promise<void> | undefined => {
      if (index === 1) leaving.abort();
      return index === 1 ? new Promise(() => {}) : undefined;
    };
    const fake = createServedFake({ ...replying("abc"), hold });
    expect((await post(fake, { prompt: "p" }, { signal: leaving.signal })).status).toBe(499);
    expect(fake.client.abortedIds).toHaveLength(1);
  });

  test.each([
    ["prompt_logprobs", { prompt_logprobs: 1 }],
    ["an echo's logprobs", { echo: true, logprobs: 1 }],
    ["a streamed echo's logprobs", { echo: true, logprobs: 1, stream: true }],
  ])("a client that leaves ends the scoring of its prompts: %s", async (_, fields) => {
    const leaving = new AbortController();
    const score = (): Promise<never> => {
      setImmediate(() => leaving.abort());
      return new Promise(() => {});
    };
    const fake = createServedFake({ score });
    const body = { prompt: ["ab", "cd"], ...fields };
    const response = await post(fake, body, { signal: leaving.signal });
    expect(response.status).toBe(499);
    expect(await response.json()).toMatchObject({ error: { reason: "client_disconnected" } });
    expect(fake.client).toMatchObject({ numAbortedScores: 2, requests: [] });
  });

  test("a score that fails ends those of the other prompts, and nothing is generated", async () => {
    const score = ({ tokenIds }: ScoreRequest): Promise<never> =>
      tokenIds[1] === 97
        ? Promise.reject(new MillraceError("deadline_exceeded", "late"))
        : new Promise(() => {});
    const fake = createServedFake({ score });
    expect((await post(fake, { prompt: ["ab", "cd"], prompt_logprobs: 1 })).status).toBe(504);
    expect(fake.client).toMatchObject({ numAbortedScores: 1, requests: [] });
  });

  test("explains each choice where asked, also after a stop string and in a stream", async () => {
    const fake = createServedFake(replying("abcdef"));
    const body = { prompt: "p", n: 2, max_tokens: 20, stop: ["de"], explain: true };
    const trace = { num_prompt_tokens: 2, prefix_hit_end: "unknown", ended_by: "stop_string" };
    const whole = await complete(fake, body);
    expect(whole).toMatchObject({
      explain: [
        { index: 0, ...trace },
        { index: 1, ...trace },
      ],
    });
    const chunks = await stream(fake, { ...body, n: 1, stream_options: { include_usage: true } });
    expect(chunks.at(-1)).toMatchObject({
      choices: [],
      usage: { prompt_tokens: 2 },
      explain: [{ index: 0, ...trace }],
    });
    const plain = await complete(fake, { ...body, explain: false });
    expect(plain).not.toHaveProperty("explain");
    const [without] = (await stream(fake, { ...body, explain: false, n: 1 })).slice(-1);
    expect(without!.choices).toHaveLength(1);
  });
});
