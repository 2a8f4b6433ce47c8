import { describe, expect, test } from "vitest";
import { createServedFake, replying } from "../../../tests/served-fake.ts";
import { MillraceError } from "../../base/errors.ts";
import {
  createFakeClient,
  type FakeEngineClient,
  type FakeScript,
} from "../../protocol/fake-engine-client.ts";
import { createServerApp } from "../app.ts";
import { ServerContext } from "../server-context.ts";
import { ModelPool, type PooledModel } from "./model-pool.ts";
import { PooledClient } from "./pooled-client.ts";

/** A server with a pool of fakes, each of 10 bytes. */
function serve(names: readonly string[], maxBytes = Number.POSITIVE_INFINITY, script: FakeScript = {}) {
  /** Every engine that was ever started, by the name of its model. */
  const engines: Record<string, FakeEngineClient[]> = {};
  let clock = 0;
  const sizeBytes = 10;
  const open = async (id: string, path: string): Promise<PooledModel> => {
    if (path === "missing") throw new MillraceError("file_not_found", "There is nothing at missing.");
    if (path !== "good") throw new Error(`no ${path}`);
    const makeRoom = (): Promise<void> => pool.makeRoom(id, sizeBytes);
    const start = async (): Promise<FakeEngineClient> => {
      const engine = createFakeClient({ ...replying(id), ...script });
      (engines[id] ??= []).push(engine);
      return engine;
    };
    await makeRoom();
    const client = new PooledClient(await start(), { id, start, makeRoom, now: () => (clock += 1) });
    return { model: { ...createServedFake().model, id, client }, client, sizeBytes };
  };
  const pool = new ModelPool(maxBytes, open);
  const context = new ServerContext();
  const app = createServerApp(context);
  const ready = async (): Promise<void> => {
    const models = [];
    for (const name of names) models.push(await pool.open(name, "good"));
    context.setReady(models, pool);
  };
  const post = async (path: string, body: object = {}) => {
    const headers = { "content-type": "application/json" };
    const response = await app.request(path, { method: "POST", body: JSON.stringify(body), headers });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  };
  const ask = async (model: string): Promise<unknown> => {
    const { status, body } = await post("/v1/completions", { model, prompt: "x", max_tokens: 20 });
    const [choice] = (body["choices"] ?? []) as { readonly text: string }[];
    return choice?.text ?? [status, (body["error"] as { readonly reason: string }).reason];
  };
  const states = async (): Promise<Record<string, string>> => {
    const { data } = (await (await app.request("/v1/models")).json()) as {
      data: { id: string; status: { value: string } }[];
    };
    return Object.fromEntries(data.map(({ id, status }) => [id, status.value]));
  };
  const get = async (path: string): Promise<unknown> => (await app.request(path)).json();
  return { app, context, pool, engines, ready, post, ask, states, get };
}

/** vLLM's gauge by its label; of one model. */
function sleepStates(metrics: string): Record<string, string> {
  const lines = metrics.matchAll(/vllm:engine_sleep_state\{.*sleep_state="(\w+)"\} (\d)\n/g);
  return Object.fromEntries([...lines].map(([, state, value]) => [state!, value!]));
}

describe("sleep", () => {
  test("frees the engine, refuses requests until it is woken, and the server stays healthy", async () => {
    const { ready, post, ask, states, get, engines, app } = serve(["a"]);
    await ready();
    expect([await ask("a"), await get("/is_sleeping")]).toEqual(["a", { is_sleeping: false }]);
    expect(await post("/sleep?level=1")).toMatchObject({ status: 200 });
    expect(engines["a"]!.map(({ isClosed }) => isClosed)).toEqual([true]);
    expect([await ask("a"), await get("/is_sleeping"), await states()]).toEqual([
      [503, "model_asleep"],
      { is_sleeping: true },
      { a: "asleep" },
    ]);
    expect((await app.request("/health")).status).toBe(200);
    const metrics = await (await app.request("/metrics")).text();
    expect(metrics).toMatch(/vllm:num_requests_running\{.*\} 0\n/);
    expect(sleepStates(metrics)).toEqual({ awake: "0", weights_offloaded: "0", discard_all: "1" });
    await post("/wake_up");
    expect([await ask("a"), await get("/is_sleeping")]).toEqual(["a", { is_sleeping: false }]);
    const awake = sleepStates(await (await app.request("/metrics")).text());
    expect(awake).toEqual({ awake: "1", weights_offloaded: "0", discard_all: "0" });
    expect(engines["a"]!.map(({ isClosed }) => isClosed)).toEqual([true, false]);
  });

  test.each([
    ["abort", "abort"],
    ["wait", "length"],
  ])("mode=%s ends what is open by %s", async (mode, end) => {
    let release = (): void => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const hold = (_: unknown, index: number): Promise<void> | undefined => (index === 2 ? held : undefined);
    const { ready, post, app, pool } = serve(["a"], undefined, { hold, ...replying("abcdefgh") });
    await ready();
    const body = JSON.stringify({ prompt: "x", max_tokens: 4 });
    const open = app.request("/v1/completions", { method: "POST", body });
    const { client } = pool.find("a")!;
    while (client.numOpen === 0) await new Promise((resolve) => setImmediate(resolve));
    const asleep = post(`/sleep?mode=${mode}`);
    if (mode === "wait") {
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(client.numOpen).toBe(1);
      release();
    }
    await asleep;
    const answer = (await (await open).json()) as { choices: { finish_reason: string }[] };
    expect(answer.choices[0]!.finish_reason).toBe(end);
    expect(await post("/sleep?mode=never")).toMatchObject({ status: 400 });
  });

  test("waking all loads those that sleep, and none that only gave way", async () => {
    const { ready, post, states } = serve(["a", "b"]);
    await ready();
    await post("/models/unload", { model: "a" });
    await post("/sleep?model=b");
    await post("/wake_up");
    expect(await states()).toEqual({ a: "unloaded", b: "loaded" });
    await post("/wake_up?model=a");
    expect(await states()).toEqual({ a: "loaded", b: "loaded" });
  });

  test("one of several models sleeps alone", async () => {
    const { ready, post, ask, get } = serve(["a", "b"]);
    await ready();
    await post("/sleep?model=b");
    expect([await ask("a"), await ask("b")]).toEqual(["a", [503, "model_asleep"]]);
    expect(await Promise.all(["/is_sleeping", "/is_sleeping?model=b"].map(get))).toEqual([
      { is_sleeping: false },
      { is_sleeping: true },
    ]);
    expect(await post("/sleep?model=c")).toMatchObject({ status: 404 });
  });
});

describe("a memory budget", () => {
  test("makes the one without requests give way that was asked longest ago, which comes back when asked", async () => {
    const { ready, ask, states, engines } = serve(["a", "b", "c"], 20);
    await ready();
    expect(await states()).toEqual({ a: "unloaded", b: "loaded", c: "loaded" });
    expect(await ask("b")).toBe("b");
    expect(await ask("a")).toBe("a");
    expect(await states()).toEqual({ a: "loaded", b: "loaded", c: "unloaded" });
    expect(await ask("c")).toBe("c");
    expect(await states()).toEqual({ a: "loaded", b: "unloaded", c: "loaded" });
    expect(engines["a"]!.map(({ isClosed }) => isClosed)).toEqual([true, false]);
  });

  test("refuses a model while the others have requests, and what could never fit", async () => {
    let release = (): void => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const { ready, ask, pool, states } = serve(["a", "b"], 10, { hold: () => held });
    await ready();
    const open = ask("b");
    while (pool.find("b")!.client.numOpen === 0) await new Promise((resolve) => setImmediate(resolve));
    expect(await ask("a")).toEqual([503, "out_of_memory"]);
    release();
    expect(await open).toBe("b");
    expect(await ask("a")).toBe("a");
    expect(await states()).toEqual({ a: "loaded", b: "unloaded" });
    await expect(serve(["a"], 9).ready()).rejects.toMatchObject({ code: "out_of_memory" });
  });

  test("many requests for models that take turns are all answered", async () => {
    const { ready, ask, pool } = serve(["a", "b", "c"], 20);
    await ready();
    const names = Array.from({ length: 60 }, (_, i) => "abc"[i % 3]!);
    const answers: unknown[] = [];
    for (let at = 0; at < names.length; at += 2)
      answers.push(...(await Promise.all(names.slice(at, at + 2).map(ask))));
    expect(answers).toEqual(names);
    expect([...pool.members].filter(({ client }) => client.state === "loaded")).toHaveLength(2);
  });
});

describe("models that come and go", () => {
  test("are loaded from a path, put away and brought back", async () => {
    const { ready, post, ask, states } = serve(["a"]);
    await ready();
    expect(await post("/models/load", { model: "b", path: "good" })).toMatchObject({ status: 200 });
    expect(await ask("b")).toBe("b");
    expect(await post("/models/unload", { model: "b" })).toMatchObject({ status: 200 });
    expect(await states()).toEqual({ a: "loaded", b: "unloaded" });
    expect(await post("/models/load", { model: "b" })).toMatchObject({ status: 200 });
    expect(await states()).toEqual({ a: "loaded", b: "loaded" });
    await post("/models/unload", { model: "b" });
    expect(await ask("b")).toBe("b");
  });

  test("names that are taken, unknown ones and bad paths are refused", async () => {
    const { ready, post, states } = serve(["a"]);
    await ready();
    const twice = ["b", "b"].map((model) => post("/models/load", { model, path: "good" }));
    expect((await Promise.all(twice)).map(({ status }) => status)).toEqual([200, 409]);
    expect(await post("/models/load", { model: "a", path: "good" })).toMatchObject({ status: 409 });
    expect(await post("/models/load", { model: "c" })).toMatchObject({ status: 404 });
    expect(await post("/models/load", { model: "c", path: "bad" })).toMatchObject({ status: 500 });
    expect(await post("/models/load", { model: "c", path: "missing" })).toMatchObject({
      status: 400,
      body: { error: { param: "path", message: "There is nothing at missing." } },
    });
    expect(await post("/models/unload", { model: "c" })).toMatchObject({ status: 404 });
    expect(await post("/models/load", {})).toMatchObject({ status: 400 });
    expect(Object.keys(await states())).toEqual(["a", "b"]);
  });

  test("a server whose engines are somebody else's says so", async () => {
    const app = createServerApp(new ServerContext({ models: [createServedFake().model] }));
    const response = await app.request("/sleep", { method: "POST" });
    expect([response.status, await response.text()]).toEqual([
      400,
      expect.stringContaining("cannot be put away"),
    ]);
  });
});

test("an engine that cannot be started again refuses its requests, and is tried anew", async () => {
  let isBroken = true;
  const start = async (): Promise<FakeEngineClient> => {
    if (isBroken) throw new Error("no memory");
    return createFakeClient();
  };
  const client = new PooledClient(createFakeClient(), { id: "a", start, now: () => 0 });
  const score = () => client.score({ tokenIds: [1, 2], start: 1, topK: 0 });
  await client.unload();
  await expect(score()).rejects.toThrow("no memory");
  expect([client.state, client.numOpen]).toEqual(["unloaded", 0]);
  isBroken = false;
  expect((await score()).logprobs).toHaveLength(1);
  expect(client.state).toBe("loaded");
});

test("what is asked while an engine is put away waits for it to come back, and does not hold it up", async () => {
  let release = (): void => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const score = async () => {
    await held;
    const nothing = { topIds: new Int32Array(), topLogprobs: new Float32Array() };
    return { logprobs: Float32Array.of(-1), argmax: Int32Array.of(2), ...nothing };
  };
  const start = async (): Promise<FakeEngineClient> => createFakeClient();
  const client = new PooledClient(createFakeClient({ score }), { id: "a", start, now: () => 0 });
  const ask = () => client.score({ tokenIds: [1, 2], start: 1, topK: 0 });
  const open = ask();
  const away = client.unload();
  const next = ask();
  expect(client.numOpen).toBe(2);
  release();
  await Promise.all([open, away, next]);
  expect([client.state, client.numOpen]).toEqual(["loaded", 0]);
});
