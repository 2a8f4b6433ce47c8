import { describe, expect, test } from "vitest";
import { createServedFake, replying } from "../../../tests/served-fake.ts";
import { isMillraceError } from "../../base/errors.ts";
import { createServerApp } from "../app.ts";
import { ServerContext } from "../server-context.ts";
import { Admission } from "./admission.ts";
import { ApiKeys } from "./api-keys.ts";
import { type LimitSettings, Limits } from "./limits.ts";

function fakeClock(): { now: () => number; passMs: (ms: number) => void } {
  let time = 1000;
  return { now: () => time, passMs: (ms) => (time += ms) };
}

/** Seconds after which to try again; undefined where the work is let in. */
function waitOf(work: () => void): number | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    if (isMillraceError(error) && error.code === "rate_limited") return error.retryAfterSeconds;
    throw error;
  }
}

describe("limits", () => {
  test("fill up evenly, and say how long to wait", () => {
    const clock = fakeClock();
    const limits = new Limits("it", { tokensPerMinute: 600 }, clock);
    limits.take("tokens", 600);
    expect(waitOf(() => limits.check("tokens", 100))).toBe(10);
    clock.passMs(5000);
    expect(waitOf(() => limits.check("tokens", 100))).toBe(5);
    clock.passMs(5000);
    expect(waitOf(() => limits.check("tokens", 100))).toBeUndefined();
  });

  test("never hold more than one period, and let in what is larger when they are full", () => {
    const clock = fakeClock();
    const limits = new Limits("it", { tokensPerSecond: 10 }, clock);
    clock.passMs(3_600_000);
    expect(waitOf(() => limits.check("tokens", 50))).toBeUndefined();
    limits.take("tokens", 50);
    // 40 in debt: four seconds back to none, half a second more for five.
    expect(waitOf(() => limits.check("tokens", 5))).toBe(4.5);
  });

  test("of a second and of a minute hold together", () => {
    const clock = fakeClock();
    const limits = new Limits("it", { requestsPerSecond: 2, requestsPerMinute: 3 }, clock);
    const ask = (): number | undefined => {
      const wait = waitOf(() => limits.checkRequest());
      if (wait === undefined) limits.take("requests", 1);
      return wait;
    };
    expect([ask(), ask(), ask()]).toEqual([undefined, undefined, 0.5]);
    clock.passMs(1000);
    expect([ask(), ask()]).toEqual([undefined, 19]);
  });
});

describe("admission", () => {
  function admit(own: LimitSettings, server: LimitSettings = {}) {
    const clock = fakeClock();
    const keys = new ApiKeys([{ name: "a", key: "a", limits: own }, "b"]);
    const admission = new Admission(keys, server, clock);
    const [a, b] = keys.callers;
    return { clock, open: (name: "a" | "b") => admission.open(name === "a" ? a! : b!) };
  }

  test("reserves the most, and gives back what was not used", () => {
    const { open } = admit({ tokensPerMinute: 100 });
    const ticket = open("a");
    ticket.reserve(90);
    expect(waitOf(() => open("a").reserve(20))).toBe(6);
    ticket.use(30);
    ticket.end();
    ticket.end();
    expect(waitOf(() => open("a").reserve(70))).toBeUndefined();
    expect(open("a").headers()).toMatchObject({ "x-ratelimit-remaining-tokens": "0" });
  });

  test("one key's limits do not touch another; the server's are for all", () => {
    const own = admit({ maxConcurrency: 1 });
    const ticket = own.open("a");
    expect(waitOf(() => own.open("a"))).toBe(1);
    expect(waitOf(() => own.open("b"))).toBeUndefined();
    ticket.end();
    expect(waitOf(() => own.open("a"))).toBeUndefined();
    const all = admit({}, { maxConcurrency: 1 });
    all.open("a");
    expect(waitOf(() => all.open("b"))).toBe(1);
  });

  test("a refusal by one limit takes nothing of another", () => {
    const { open, clock } = admit({ tokensPerMinute: 60 }, { tokensPerMinute: 6000 });
    open("a").reserve(60);
    expect(waitOf(() => open("a").reserve(60))).toBe(60);
    clock.passMs(1);
    expect(waitOf(() => open("b").reserve(5940))).toBeUndefined();
  });
});

describe("limits of requests over HTTP", () => {
  function createApp(limits: LimitSettings, more: object = {}) {
    const fake = createServedFake({ ...replying("abcdefgh"), ...more });
    const context = new ServerContext({
      models: [fake.model],
      apiKeys: [{ name: "team", key: "k", limits }],
    });
    const app = createServerApp(context);
    const headers = { authorization: "Bearer k" };
    const ask = (body: object = {}) =>
      app.request("/v1/completions", {
        method: "POST",
        headers,
        body: JSON.stringify({ prompt: "p", max_tokens: 8, ...body }),
      });
    return { ...fake, app, ask, headers };
  }

  test("429 names the key, the limit and what is left, with retry-after", async () => {
    const { ask } = createApp({ requestsPerMinute: 1 });
    const first = await ask();
    expect(first.status).toBe(200);
    expect(first.headers.get("x-ratelimit-remaining-requests")).toBe("0");
    const second = await ask();
    expect(second.status).toBe(429);
    expect(Number(second.headers.get("retry-after"))).toBeGreaterThan(50);
    expect(second.headers.get("x-ratelimit-limit-requests")).toBe("1");
    expect(second.headers.get("x-ratelimit-remaining-requests")).toBe("0");
    expect(second.headers.get("x-ratelimit-reset-requests")).toMatch(/^5\d\.\d{3}s$|^60\.000s$/);
    const { error } = (await second.json()) as { error: Record<string, string> };
    expect(error).toMatchObject({ type: "TooManyRequestsError", reason: "rate_limited" });
    expect(error["message"]).toMatch(
      /^The API key team is limited to 1 request per minute; left are 0, asked for 1\. Try again in \d+ s/,
    );
  });

  test("tokens are reserved before any work and settled when the answer is over, streamed or not", async () => {
    // A prompt of 2 tokens; the answer has 3 of at most 40.
    const { ask, client } = createApp({ tokensPerMinute: 50 }, replying("ab"));
    for (const stream of [false, true]) {
      const response = await ask({ max_tokens: 40, stream });
      expect(response.status).toBe(200);
      expect(response.headers.get("x-ratelimit-remaining-tokens")).toBe(stream ? "3" : "8");
      await response.text();
    }
    // 10 are used: 43 do not fit where 42 would.
    expect((await ask({ max_tokens: 41 })).status).toBe(429);
    expect(client.requests).toHaveLength(2);
    expect((await ask({ max_tokens: 37 })).status).toBe(200);
  });

  test("a place is free again when a stream ends, and when a request is refused", async () => {
    const { ask } = createApp({ maxConcurrency: 1 });
    const open = await ask({ stream: true });
    expect((await ask()).status).toBe(429);
    await open.text();
    expect((await ask({ max_tokens: -1 })).status).toBe(400);
    expect((await ask()).status).toBe(200);
  });

  test("a request that is refused for what it says counts, its tokens do not, and a 429 takes no more", async () => {
    const { ask } = createApp({ requestsPerMinute: 2, tokensPerMinute: 1000 });
    const wrong = await ask({ max_tokens: -1 });
    expect([wrong.status, wrong.headers.get("x-ratelimit-remaining-requests")]).toEqual([400, "1"]);
    expect(wrong.headers.get("x-ratelimit-remaining-tokens")).toBe("1000");
    await ask({ max_tokens: -1 });
    const resets = [];
    for (const _ of [1, 2, 3]) {
      const { status, headers } = await ask();
      expect([status, headers.get("x-ratelimit-remaining-requests")]).toEqual([429, "0"]);
      expect(headers.get("x-ratelimit-remaining-tokens")).toBe("1000");
      resets.push(Number.parseFloat(headers.get("x-ratelimit-reset-requests")!));
    }
    expect(resets).toEqual(resets.toSorted((a, b) => b - a));
  });

  test("reading models and counting tokens is not limited", async () => {
    const { app, ask, headers } = createApp({ requestsPerMinute: 1 });
    await ask();
    expect((await app.request("/v1/models", { headers })).status).toBe(200);
  });
});
