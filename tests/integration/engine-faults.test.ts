import type * as WorkerThreads from "node:worker_threads";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { defaultEngineOptions } from "../../src/engine/engine-options.ts";
import { startEngineWorker } from "../../src/engine/worker-client.ts";
import type { EngineClient } from "../../src/protocol/engine-client.ts";
import { type RunningServer, startServer } from "../../src/server/start-server.ts";
import { ScoreMemory } from "../../src/text/score-memory.ts";
import { createByteTokenizer } from "../byte-tokenizer.ts";
import { type RandomModel, writeRandomModel } from "../random-model.ts";

/** Every engine's thread, the newest last. */
const threads: WorkerThreads.Worker[] = [];
vi.mock("node:worker_threads", async (original) => {
  const module = await original<typeof WorkerThreads>();
  class RecordedWorker extends module.Worker {
    constructor(...args: ConstructorParameters<typeof module.Worker>) {
      super(...args);
      threads.push(this);
    }
  }
  return { ...module, Worker: RecordedWorker };
});

/** More tokens than an engine makes while this thread is kept from striking it. */
const tokensOfMinutes = 100_000;

let model: RandomModel;
let client: EngineClient;
let server: RunningServer;

beforeAll(() => {
  model = writeRandomModel(2 * tokensOfMinutes);
});
afterAll(() => model.remove());
afterEach(async () => {
  await server.close();
  await client.close();
});

async function serve(): Promise<void> {
  client = await startEngineWorker({ ...defaultEngineOptions(model.path), kvCacheMemoryBytes: 4e8 });
  server = await startServer({
    host: "127.0.0.1",
    port: 0,
    models: [
      {
        id: "random",
        client,
        promptScorer: new ScoreMemory(client),
        tokenizer: createByteTokenizer(),
        grammars: null,
        created: 0,
        generationDefaults: {},
      },
    ],
  });
}

function complete(body: object): Promise<Response> {
  const common = { prompt: "p", max_tokens: tokensOfMinutes, ignore_eos: true };
  return fetch(`${server.url}/v1/completions`, {
    method: "POST",
    body: JSON.stringify({ ...common, ...body }),
  });
}

describe.each<[string, () => void]>([
  ["is ended", () => void threads.at(-1)!.terminate()],
  ["throws", () => threads.at(-1)!.postMessage(null)],
])("when the engine's thread %s", (_, strike) => {
  test("open requests hear of it, later ones are refused, and the server says that it is not alive", async () => {
    await serve();
    const stream = await complete({ stream: true });
    const reader = stream.body!.getReader();
    let text = Buffer.from((await reader.read()).value!).toString();
    const whole = complete({});
    strike();
    for (let part = await reader.read(); !part.done; part = await reader.read())
      text += Buffer.from(part.value).toString();
    const events = text.split("\n\n").filter((line) => line !== "");
    expect(events.at(-1)).toBe("data: [DONE]");
    expect(JSON.parse(events.at(-2)!.replace("data: ", ""))).toMatchObject({
      error: { reason: "engine_failed", message: expect.stringContaining("thread died") },
    });
    const answer = await whole;
    expect([answer.status, await answer.json()]).toMatchObject([500, { error: { reason: "engine_failed" } }]);
    const later = await complete({});
    expect([later.status, await later.json()]).toMatchObject([500, { error: { reason: "engine_failed" } }]);
    for (const path of ["/live", "/health"]) {
      const health = await fetch(server.url + path);
      expect([health.status, await health.json()]).toMatchObject([
        503,
        { error: { reason: "engine_stalled", message: expect.stringContaining("thread died") } },
      ]);
    }
    expect(server.numOpenRequests).toBe(0);
  });
});
