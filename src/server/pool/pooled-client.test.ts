import { describe, expect, test } from "vitest";
import { createServedFake } from "../../../tests/served-fake.ts";
import type { EngineOutput, GenerateRequest } from "../../protocol/engine-client.ts";
import { createFakeClient, type FakeEngineClient } from "../../protocol/fake-engine-client.ts";
import { defaultSampling } from "../../protocol/sampling-params.ts";
import { createServerApp } from "../app.ts";
import { ServerContext } from "../server-context.ts";
import { PooledClient } from "./pooled-client.ts";

const request = (requestId: string): GenerateRequest => ({
  requestId,
  promptTokenIds: [1, 2],
  sampling: defaultSampling,
});
const score = { tokenIds: [1, 2], start: 1, topK: 0 };

async function read(outputs: AsyncIterable<EngineOutput>): Promise<unknown> {
  const ends = [];
  for await (const { requestId, finishReason } of outputs) ends.push([requestId, finishReason]);
  return ends.at(-1);
}

/** Lets everything happen that waits for nothing from outside. */
const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));

/** A client whose engine is away, and comes when it is let. */
async function away() {
  let arrive = (): void => {};
  const held = new Promise<void>((resolve) => {
    arrive = resolve;
  });
  const engines: FakeEngineClient[] = [];
  const start = async (): Promise<FakeEngineClient> => {
    const engine = createFakeClient();
    engines.push(engine);
    await held;
    return engine;
  };
  const changes: string[] = [];
  const onChange = (state: string): void => void changes.push(state);
  const client = new PooledClient(createFakeClient(), { id: "a", start, now: () => 0, onChange });
  await client.unload();
  return { client, engines, arrive, changes };
}

describe("who leaves while the engine comes", () => {
  test("is told so at once, and the engine never hears of it", async () => {
    const { client, engines, arrive } = await away();
    const [left, kept] = ["left", "kept"].map((id) => read(client.generate(request(id))));
    await settle();
    expect([client.state, client.numOpen]).toEqual(["loading", 2]);
    client.abort("left");
    expect(await left).toEqual(["left", "abort"]);
    expect([client.state, client.numOpen]).toEqual(["loading", 1]);
    arrive();
    expect(await kept).toEqual(["kept", "stop"]);
    expect(engines.map(({ requests }) => requests.map(({ requestId }) => requestId))).toEqual([["kept"]]);
    expect([client.state, client.numOpen]).toEqual(["loaded", 0]);
  });

  test("before its outputs are read, or by leaving the loop, is as good", async () => {
    const { client, engines, arrive } = await away();
    const early = client.generate(request("early"));
    client.abort("early");
    expect(await read(early)).toEqual(["early", "abort"]);
    const iterator = client.generate(request("loop"))[Symbol.asyncIterator]();
    const next = iterator.next();
    await iterator.return!();
    expect((await next).value).toMatchObject({ finishReason: "abort" });
    arrive();
    await client.load();
    expect(engines.flatMap(({ requests }) => requests)).toEqual([]);
    expect(client.numOpen).toBe(0);
  });

  test("ends a score by its signal's reason", async () => {
    const { client, engines, arrive } = await away();
    const controller = new AbortController();
    const scored = client.score(score, controller.signal);
    controller.abort(new Error("gone"));
    await expect(scored).rejects.toThrow("gone");
    await expect(client.score(score, controller.signal)).rejects.toThrow("gone");
    arrive();
    await client.load();
    expect(engines.flatMap(({ scoreRequests }) => scoreRequests)).toEqual([]);
  });

  test("does not let the engine be put away under others", async () => {
    let release = (): void => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const first = createFakeClient({ hold: () => held });
    const start = async (): Promise<FakeEngineClient> => createFakeClient();
    const client = new PooledClient(first, { id: "a", start, now: () => 0 });
    const running = read(client.generate(request("running")));
    const unloaded = client.unload();
    const left = read(client.generate(request("left")));
    client.abort("left");
    await left;
    await settle();
    expect([first.isClosed, client.numOpen]).toEqual([false, 1]);
    release();
    await Promise.all([running, unloaded]);
    expect([first.isClosed, client.state, client.numOpen]).toEqual([true, "unloaded", 0]);
  });

  test("is a client of the server, whose answer is cut", async () => {
    const { client, engines, arrive } = await away();
    const model = { ...createServedFake().model, client };
    const app = createServerApp(new ServerContext({ models: [model] }));
    const controller = new AbortController();
    const body = JSON.stringify({ prompt: "x", max_tokens: 4 });
    const options = { method: "POST", body, signal: controller.signal };
    const answer = Promise.resolve(app.request("/v1/completions", options));
    while (client.numOpen === 0) await settle();
    controller.abort();
    await answer.catch(() => {});
    expect(client.numOpen).toBe(0);
    expect(await (await app.request("/metrics")).text()).toMatch(/finished_reason="abort"\} 1\n/);
    arrive();
    await client.load();
    expect(engines.flatMap(({ requests }) => requests)).toEqual([]);
  });
});

describe("put away while it comes", () => {
  test("it sleeps once it is here, and wakes", async () => {
    const { client, engines, arrive, changes } = await away();
    const loaded = client.load();
    await settle();
    const asleep = client.sleep("abort");
    arrive();
    await Promise.all([loaded, asleep]);
    expect([client.state, engines.map(({ isClosed }) => isClosed)]).toEqual(["asleep", [true]]);
    await expect(client.score(score)).rejects.toMatchObject({ code: "model_asleep" });
    const again = client.sleep("wait");
    await client.load();
    await again;
    expect((await client.score(score)).logprobs).toHaveLength(1);
    expect(client.state).toBe("loaded");
    expect(changes).toEqual(["unloaded", "loaded", "asleep", "asleep", "loaded"]);
  });
});
