import { once } from "node:events";
import { connect } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { isMillraceError } from "../../src/base/errors.ts";
import { type RunningServer, type StartServerOptions, startServer } from "../../src/server/start-server.ts";
import { createServedFake, readEvents, replying } from "../served-fake.ts";

const running: RunningServer[] = [];

async function start(options: Partial<StartServerOptions> = {}): Promise<RunningServer> {
  const server = await startServer({ host: "127.0.0.1", port: 0, ...options });
  running.push(server);
  return server;
}

afterEach(async () => {
  await Promise.all(running.splice(0).map((server) => server.close()));
});

function post(server: RunningServer, body: object, signal: AbortSignal | null = null): Promise<Response> {
  return fetch(`${server.url}/v1/completions`, { method: "POST", body: JSON.stringify(body), signal });
}

/** Waits for what another connection brings about; the test's own time limit ends a wait in vain. */
async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise((resolve) => setTimeout(resolve, 5));
}

const forever = replying("x".repeat(1500));

/** The status of a request as these lines write it. */
async function statusOf(server: RunningServer, ...lines: string[]): Promise<number> {
  const socket = connect(server.port, "127.0.0.1");
  socket.write(lines.join("\r\n"));
  const [first] = (await once(socket, "data")) as [Buffer];
  socket.destroy();
  return Number(/^HTTP\/1\.1 (\d+) /.exec(first.toString())?.[1]);
}

describe("a server on a socket without keys", () => {
  test("is no server of another name, and tells bodies by their headers", async () => {
    const server = await start({ models: [createServedFake().model] });
    const of = (...lines: string[]) => statusOf(server, ...lines);
    expect(await of("GET /v1/models HTTP/1.1", "host: evil.example", "", "")).toBe(421);
    expect(await of("GET /v1/models HTTP/1.1", "host: localhost", "", "")).toBe(200);
    expect(await of("GET http://evil.example/v1/models HTTP/1.1", "host: localhost", "", "")).toBe(200);
    const sleep = ["POST /sleep HTTP/1.1", "host: localhost"];
    // These engines are the test's own, which is a 400 of its own.
    for (const none of [[], ["content-length: 0"], ["content-length: 0", "content-type: text/plain"]]) {
      expect(await of(...sleep, ...none, "", "")).toBe(400);
    }
    expect(await of(...sleep, "content-length: 2", "", "{}")).toBe(415);
    expect(await of(...sleep, "transfer-encoding: chunked", "", "2\r\n{}\r\n0\r\n\r\n")).toBe(415);
    expect(await of(...sleep, "content-length: 2", "content-type: text/plain", "", "{}")).toBe(415);
    expect(await of(...sleep, "content-length: 2", "content-type: application/json", "", "{}")).toBe(400);
  });
});

describe("a server on a socket", () => {
  test("listens before it has a model", async () => {
    const server = await start();
    expect((await fetch(`${server.url}/health`)).status).toBe(503);
    server.setReady([createServedFake().model]);
    expect((await fetch(`${server.url}/health`)).status).toBe(200);
  });

  test("says that a port is taken", async () => {
    const server = await start();
    const second = startServer({ host: "127.0.0.1", port: server.port });
    await expect(second).rejects.toSatisfy((e) => isMillraceError(e) && e.code === "port_in_use");
  });

  test("streams with its own headers", async () => {
    const { model } = createServedFake(replying("Grüße 🙂"));
    const server = await start({ models: [model] });
    const response = await post(server, { prompt: "p", stream: true, frob: 1, max_tokens: 50 });
    expect(response.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
    expect(response.headers.get("x-millrace-warnings")).toBe("ignored fields: frob");
    const chunks = readEvents(await response.text()) as { choices: { text: string }[] }[];
    expect(chunks.map((chunk) => chunk.choices[0]?.text).join("")).toBe("Grüße 🙂");
  });

  test("sends comments while an answer keeps a stream waiting, also before its first token", async () => {
    let release = (): void => {};
    const held = new Promise<void>((resolve) => (release = resolve));
    const fake = createServedFake({ ...replying("ab"), hold: (_, index) => (index < 2 ? held : undefined) });
    const server = await start({ models: [fake.model], keepAliveMs: 20 });
    const response = await post(server, { prompt: "p", stream: true, max_tokens: 5 });
    expect(response.status).toBe(200);
    setTimeout(release, 100);
    const text = await response.text();
    expect(text).toMatch(/^(?:: keep-alive\n\n)+data: /);
    expect(readEvents(text.replaceAll(": keep-alive\n\n", ""))).toHaveLength(3);
  });

  test("a client that leaves ends its request in the engine, streamed or not", async () => {
    const { model, client } = createServedFake({ ...forever, delayMs: 2 });
    const server = await start({ models: [model] });
    for (const stream of [true, false]) {
      const leaving = new AbortController();
      const before = client.abortedIds.length;
      const request = post(server, { prompt: "p", stream, max_tokens: 1500 }, leaving.signal);
      await until(() => client.requests.length === before + 1);
      if (stream) await (await request).body?.getReader().read();
      leaving.abort();
      await request.then(
        () => undefined,
        (error: Error) => expect(error.name).toBe("AbortError"),
      );
      await until(() => client.abortedIds.length === before + 1);
      await until(() => server.numOpenRequests === 0);
    }
    expect(await client.stats()).toMatchObject({ numRunning: 0, numWaiting: 0 });
  });

  test("a client that left before its answer was complete leaves no timer behind", async () => {
    const numTimers = (): number =>
      process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
    const { model } = createServedFake({ ...forever, hold: () => new Promise(() => {}) });
    const server = await start({ models: [model] });
    const before = numTimers();
    const body = JSON.stringify({ prompt: "p", max_tokens: 3 });
    const head = `POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${body.length}\r\n\r\n`;
    for (let i = 0; i < 20; i += 1) {
      const socket = connect(server.port, "127.0.0.1").on("error", () => {});
      socket.write(head + body);
      await until(() => server.numOpenRequests === 1);
      socket.resetAndDestroy();
      await until(() => server.numOpenRequests === 0);
    }
    expect(numTimers()).toBeLessThanOrEqual(before);
  });

  test("after a storm of disconnects nothing stays open, and every sequence was counted once", async () => {
    const { model, client } = createServedFake({ ...forever, delayMs: 10 });
    const server = await start({ models: [model] });
    const numRequests = 40;
    const leave = Array.from({ length: numRequests }, () => new AbortController());
    const storm = leave.map((leaving, index) => {
      const body = { prompt: ["a", "b"], n: (index % 2) + 1, stream: index % 3 !== 0, max_tokens: 1500 };
      return post(server, body, leaving.signal).then((response) => response.text());
    });
    const gone = Promise.allSettled(storm);
    // Half of the requests are aborted as soon as possible, the others when all of those run in the engine.
    for (const leaving of leave.slice(0, numRequests / 2)) leaving.abort();
    const numRunning = (numRequests / 2) * 3;
    await until(() => client.requests.length >= numRunning);
    for (const [index, leaving] of leave.entries()) setTimeout(() => leaving.abort(), (index * 7) % 50);
    expect((await gone).every((result) => result.status === "rejected")).toBe(true);
    await until(() => client.abortedIds.length >= numRunning && server.numOpenRequests === 0);
    expect(await client.stats()).toMatchObject({ numRunning: 0, numWaiting: 0 });
    const metrics = await (await fetch(`${server.url}/metrics`)).text();
    const outcomes = metrics.matchAll(/^vllm:request_success_total\{.*finished_reason="(\w+)"\} (\d+)$/gm);
    expect([...outcomes].map(([, reason, count]) => [reason, Number(count)])).toEqual([
      ["abort", client.requests.length],
    ]);
  });

  test("a reader that does not read holds back the engine's outputs, and loses none", async () => {
    const { model, client } = createServedFake(forever);
    const server = await start({ models: [model] });
    const prompts = Array.from({ length: 20 }, () => "p");
    const numTokens = prompts.length * 1400;
    const body = JSON.stringify({ prompt: prompts, stream: true, max_tokens: 1400, logprobs: 5 });
    const socket = connect(server.port, "127.0.0.1");
    socket.write(
      `POST /v1/completions HTTP/1.0\r\nhost: localhost\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    );
    await once(socket, "readable");
    const generated = async (): Promise<number> => (await client.stats()).generationTokens;
    for (
      let before = -1;
      before !== (await generated());
      await new Promise((resolve) => setTimeout(resolve, 200))
    ) {
      before = await generated();
    }
    expect(await generated()).toBeLessThan(numTokens);
    const chunks: Buffer[] = [];
    socket.on("data", (chunk: Buffer) => chunks.push(chunk));
    await once(socket, "end");
    const text = Buffer.concat(chunks).toString("utf8");
    expect([...text.matchAll(/^data: \{/gm)]).toHaveLength(numTokens);
    expect(text.endsWith("data: [DONE]\n\n")).toBe(true);
  });

  test("an unreadable host header is 400 with the error object", async () => {
    const server = await start();
    const socket = connect(server.port, "127.0.0.1");
    socket.end("GET /health HTTP/1.1\r\nhost: a b/c\r\nconnection: close\r\n\r\n");
    let text = "";
    for await (const chunk of socket) text += String(chunk);
    expect(text).toMatch(/^HTTP\/1\.1 400 /);
    expect(text).toContain('"reason":"invalid_request"');
  });
});

describe("drain", () => {
  test("finishes open requests, refuses new ones, then closes", async () => {
    let release = (): void => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const { model, client } = createServedFake({
      ...replying("abc"),
      hold: (_, i) => (i === 1 ? held : undefined),
    });
    const server = await start({ models: [model] });
    const open = await post(server, { prompt: "p", stream: true, max_tokens: 3 });
    const drained = server.drain(60_000);
    const refused = await post(server, { prompt: "q" });
    expect(refused.status).toBe(503);
    expect(await refused.json()).toMatchObject({ error: { reason: "server_not_ready" } });
    release();
    const chunks = readEvents(await open.text()) as { choices: { text: string }[] }[];
    expect(chunks.map((chunk) => chunk.choices[0]?.text).join("")).toBe("abc");
    await drained;
    expect(client.abortedIds).toEqual([]);
    await expect(fetch(`${server.url}/live`)).rejects.toThrow();
  });

  test("aborts what is left when the time is over, and tells the client", async () => {
    const { model, client } = createServedFake({ ...forever, delayMs: 5 });
    const server = await start({ models: [model] });
    const open = await post(server, { prompt: "p", stream: true, max_tokens: 1500 });
    await server.drain(20);
    const chunks = readEvents(await open.text()) as { choices: { finish_reason: string | null }[] }[];
    expect(chunks.at(-1)?.choices[0]?.finish_reason).toBe("abort");
    expect(client.abortedIds).toHaveLength(1);
  });

  test("a close in the middle of a drain ends it at once", async () => {
    const { model } = createServedFake({ ...forever, delayMs: 5 });
    const server = await start({ models: [model] });
    const open = await post(server, { prompt: "p", stream: true, max_tokens: 1500 });
    const drained = server.drain(600_000);
    await server.close();
    await drained;
    expect((readEvents(await open.text()) as unknown[]).length).toBeGreaterThan(0);
  });
});
