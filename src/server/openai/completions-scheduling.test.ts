import { describe, expect, test } from "vitest";
import { complete, post, stream } from "../../../tests/served-completions.ts";
import { createServedFake, replying } from "../../../tests/served-fake.ts";
import { MillraceError } from "../../base/errors.ts";
import type { ScoreRequest } from "../../protocol/engine-client.ts";

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
