import { describe, expect, test } from "vitest";
import { createServedFake, readEvents, replying, type ServedFake } from "../../../tests/served-fake.ts";
import { createServerApp } from "../app.ts";
import { ServerContext, type ServerOptions } from "../server-context.ts";

interface Piece {
  readonly index: number;
  readonly text: string;
  readonly finish_reason: string | null;
  readonly stop_reason: string | number | null;
  readonly token_ids?: number[];
  readonly prompt_token_ids?: number[];
  readonly logprobs: {
    readonly tokens: string[];
    readonly text_offset: number[];
    readonly token_logprobs: (number | null)[];
    readonly top_logprobs: (Record<string, number> | null)[];
  } | null;
}

interface Answer {
  readonly id: string;
  readonly choices: Piece[];
  readonly usage?: { prompt_tokens: number; completion_tokens: number; total_tokens: number } | null;
  readonly error?: { message: string; param: string; type: string; code: number };
}

async function post(fake: ServedFake, body: unknown, options: ServerOptions = {}): Promise<Response> {
  const app = createServerApp(new ServerContext({ models: [fake.model], ...options }));
  return app.request("/v1/completions", { method: "POST", body: JSON.stringify(body) });
}

async function complete(fake: ServedFake, body: unknown, options: ServerOptions = {}): Promise<Answer> {
  return (await (await post(fake, body, options)).json()) as Answer;
}

async function stream(fake: ServedFake, body: object): Promise<Answer[]> {
  const response = await post(fake, { ...body, stream: true });
  expect(response.headers.get("content-type")).toMatch(/^text\/event-stream/);
  return readEvents(await response.text()) as Answer[];
}

describe("scheduling and traces", () => {
  test("hands scheduling on under vLLM's names; the header names the tenant before body and user", async () => {
    const fake = createServedFake();
    const app = createServerApp(new ServerContext({ models: [fake.model] }));
    const send = async (body: object, headers: Record<string, string> = {}) => {
      const text = JSON.stringify({ prompt: "p", max_tokens: 1, ...body });
      const response = await app.request("/v1/completions", { method: "POST", body: text, headers });
      expect(response.status).toBe(200);
      return fake.client.requests.at(-1)!.scheduling;
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
    const scores = { prompt: "ab", echo: true, logprobs: 1, prompt_logprobs: 1, cache_salt: "s" };
    await send(scores);
    expect(fake.client.scoreRequests.map(({ scheduling }) => scheduling)).toEqual([
      { cacheSalt: "s" },
      { cacheSalt: "s" },
    ]);
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
