import { describe, expect, test } from "vitest";
import { createServedFake, replying } from "../../../tests/served-fake.ts";
import { MillraceError } from "../../base/errors.ts";
import type { AdapterHost } from "../../protocol/engine-client.ts";
import { createServerApp } from "../app.ts";
import { ServerContext, type ServerOptions } from "../server-context.ts";
import { adapterModel } from "./adapter-model.ts";

/** A host that loads what is called `good…` and counts. */
function fakeHost(): AdapterHost & { readonly log: string[] } {
  const log: string[] = [];
  return {
    log,
    initial: [],
    maxNumAdapters: 4,
    load: async ({ name, path }) => {
      if (!path.startsWith("good")) throw new MillraceError("invalid_adapter", `The adapter ${path} is bad.`);
      log.push(`+${name}`);
      return { name, path, rank: 8, sizeBytes: 1000 };
    },
    unload: async (name) => void log.push(`-${name}`),
  };
}

function serve(options: ServerOptions = {}, host: AdapterHost | undefined = fakeHost()) {
  const fake = createServedFake({ ...replying("hello"), ...(host === undefined ? {} : { adapters: host }) });
  const context = new ServerContext({ models: [fake.model], ...options });
  const app = createServerApp(context);
  const post = async (path: string, body: object, key?: string) => {
    const own = key === undefined ? {} : { authorization: `Bearer ${key}` };
    const headers = { "content-type": "application/json", ...own };
    const response = await app.request(path, { method: "POST", body: JSON.stringify(body), headers });
    return { status: response.status, body: (await response.json()) as Record<string, never> };
  };
  const load = (name: string, path = "good", key?: string) =>
    post("/v1/load_lora_adapter", { lora_name: name, lora_path: path }, key);
  const unload = (name: string) => post("/v1/unload_lora_adapter", { lora_name: name });
  const ids = async () => {
    const { data } = (await (await app.request("/v1/models")).json()) as {
      data: { id: string; parent: string | null }[];
    };
    return data.map(({ id, parent }) => [id, parent]);
  };
  return { app, context, fake, post, load, unload, ids };
}

describe("adapters over HTTP", () => {
  test("one is loaded, listed with its model, asked, and unloaded", async () => {
    const { load, unload, ids, post, fake, app } = serve();
    expect(await load("mine")).toEqual({
      status: 200,
      body: { status: "ok", id: "mine", parent: "fake", rank: 8, size_bytes: 1000 },
    });
    expect(await ids()).toEqual([
      ["fake", null],
      ["mine", "fake"],
    ]);
    expect(await (await app.request("/v1/models/mine")).json()).toMatchObject({
      id: "mine",
      parent: "fake",
    });
    for (const model of ["mine", "fake"]) {
      const { body } = await post("/v1/completions", { model, prompt: "x", max_tokens: 5 });
      expect(body).toMatchObject({ model, choices: [{ text: "hello" }] });
    }
    expect(fake.client.requests.map(({ adapter }) => adapter)).toEqual(["mine", undefined]);
    expect((await unload("mine")).status).toBe(200);
    expect(await ids()).toEqual([["fake", null]]);
    expect(await post("/v1/completions", { model: "mine", prompt: "x" })).toMatchObject({ status: 404 });
    expect((fake.client.adapters as ReturnType<typeof fakeHost>).log).toEqual(["+mine", "-mine"]);
  });

  test("prompts are scored with the adapter, and what is remembered is its own", async () => {
    const { load, post, fake } = serve();
    await load("mine");
    const ask = { prompt: "some text", max_tokens: 0, echo: true, logprobs: 1 };
    for (const model of ["mine", "fake", "mine"]) await post("/v1/completions", { ...ask, model });
    expect(fake.client.scoreRequests.map(({ adapter }) => adapter)).toEqual(["mine", undefined]);
  });

  test("names that are taken, unknown ones and adapters that cannot be loaded are refused", async () => {
    const { load, unload, post, ids } = serve();
    await load("mine");
    expect(await load("mine")).toMatchObject({ status: 409, body: { error: { reason: "adapter_exists" } } });
    expect(await load("fake")).toMatchObject({ status: 409 });
    expect(await load("other", "bad")).toMatchObject({
      status: 400,
      body: { error: { reason: "invalid_adapter" } },
    });
    for (const name of ["none", "fake"]) {
      expect(await unload(name)).toMatchObject({
        status: 404,
        body: { error: { reason: "adapter_not_found" } },
      });
    }
    const bodies = [
      {},
      { lora_name: "" },
      { lora_name: "x".repeat(300), lora_path: "good" },
      { lora_name: 1 },
    ];
    for (const body of bodies)
      expect(await post("/v1/load_lora_adapter", body)).toMatchObject({ status: 400 });
    const based = { lora_name: "x", lora_path: "good" };
    expect(await post("/v1/load_lora_adapter", { ...based, base_model_name: "nobody" })).toMatchObject({
      status: 404,
    });
    // An adapter of an adapter.
    expect(await post("/v1/load_lora_adapter", { ...based, base_model_name: "mine" })).toMatchObject({
      status: 400,
    });
    expect(await ids()).toHaveLength(2);
  });

  test("two that come together under one name give one of them", async () => {
    const { load, ids } = serve();
    const both = await Promise.all([load("mine"), load("mine")]);
    expect(both.map(({ status }) => status)).toEqual([200, 409]);
    expect(await ids()).toHaveLength(2);
  });

  test("a server without room for adapters says so", async () => {
    const { load } = serve({}, undefined);
    const plain = createServedFake();
    const app = createServerApp(new ServerContext({ models: [plain.model] }));
    expect((await load("x")).status).toBe(200);
    const response = await app.request("/v1/load_lora_adapter", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ lora_name: "x", lora_path: "good" }),
    });
    expect([response.status, await response.text()]).toEqual([400, expect.stringContaining("--enable-lora")]);
  });

  test("they take a key for administration", async () => {
    const apiKeys = [
      { name: "user", key: "user", scopes: ["inference"] as const },
      { name: "admin", key: "admin", scopes: ["admin"] as const },
    ];
    const { load } = serve({ apiKeys });
    expect(await load("mine", "good")).toMatchObject({ status: 401 });
    expect(await load("mine", "good", "user")).toMatchObject({ status: 403 });
    expect(await load("mine", "good", "admin")).toMatchObject({ status: 200 });
  });

  test("adapters share the engine: its figures are counted once", async () => {
    const { context, fake } = serve();
    context.addModel(adapterModel(fake.model, "mine"));
    expect(context.entries.map(({ model }) => model.id)).toEqual(["fake"]);
    const text = await context.metrics.expose();
    expect(text.match(/^vllm:num_requests_running\{/gm)).toHaveLength(1);
  });
});
