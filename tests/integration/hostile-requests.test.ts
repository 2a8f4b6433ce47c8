import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { GrammarPool } from "../../src/grammar/grammar-pool.ts";
import { fakeEosTokenId } from "../../src/protocol/fake-engine-client.ts";
import { type RunningServer, startServer } from "../../src/server/start-server.ts";
import { createByteTokenizer } from "../byte-tokenizer.ts";
import { growthPerRound } from "../heap-growth.ts";
import { type HostileBody, hostileBodies } from "../hostile-bodies.ts";
import { createServedFake, replying } from "../served-fake.ts";

const maxBodyBytes = 2 ** 20;
const clientTimeoutMs = 500;
const grammars = new GrammarPool({
  tokenizer: createByteTokenizer(),
  vocabSize: 512,
  endTokenIds: [fakeEosTokenId],
});
const fake = createServedFake(replying("x".repeat(5000)), { grammars });

let server: RunningServer;

beforeAll(async () => {
  server = await startServer({
    host: "127.0.0.1",
    port: 0,
    models: [fake.model],
    maxBodyBytes,
    clientTimeoutMs,
  });
});

afterAll(async () => {
  await server.close();
  await grammars.close();
});

async function expectAlive(): Promise<void> {
  expect((await fetch(`${server.url}/health`)).status).toBe(200);
  expect(server.numOpenRequests).toBe(0);
  expect(await fake.client.stats()).toMatchObject({ numRunning: 0, numWaiting: 0 });
}

const bodies = hostileBodies(maxBodyBytes);

async function statusOf({ path, body }: HostileBody): Promise<number> {
  const response = await fetch(server.url + path, { method: "POST", body });
  await response.arrayBuffer();
  return response.status;
}

describe("hostile bodies", () => {
  test("are all refused with a 4xx", { timeout: 120_000 }, async () => {
    expect(bodies.length).toBeGreaterThanOrEqual(200);
    const answered: string[] = [];
    for (const body of bodies) {
      const status = await statusOf(body);
      if (status < 400 || status > 499) answered.push(`${body.path} ${body.name}: ${status}`);
    }
    expect(answered).toEqual([]);
    await expectAlive();
  });

  test("leave nothing behind", { timeout: 120_000 }, async () => {
    // Without grammars, of which the newest are kept.
    const again = bodies.filter(({ body }) => !/structured_outputs|json_schema/.test(String(body)));
    expect(again.length).toBeGreaterThan(150);
    const growth = await growthPerRound(5, async () => {
      for (const body of again) await statusOf(body);
      await expectAlive();
    });
    // Less than 2 kB of each request.
    expect(growth / 1e6).toBeLessThan(0.3);
  });
});

/** Sends bytes; resolves with all that came back once the server has closed the connection. */
async function raw(send: (socket: Socket) => void): Promise<string> {
  const socket = connect(server.port, "127.0.0.1");
  let answer = "";
  socket.setEncoding("latin1").on("data", (text: string) => (answer += text));
  socket.on("error", () => {});
  await once(socket, "connect");
  send(socket);
  await once(socket, "close");
  return answer;
}

const head = "POST /v1/completions HTTP/1.1\r\nhost: localhost\r\n";

describe("hostile connections are closed by the server, with a 4xx where there is somebody to tell", () => {
  const rawStatus = (answer: string): number => Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1] ?? 0);

  test.each<[string, number, (socket: Socket) => void]>([
    ["noise", 400, (socket) => socket.write("\x00\x01\x02 noise\r\n\r\n")],
    ["a TLS hello", 400, (socket) => socket.write(Buffer.from("16030100c5010000c10303", "hex"))],
    ["a flood of headers", 431, (socket) => socket.write(`${head}${"a: b\r\n".repeat(50_000)}`)],
    ["a huge header", 431, (socket) => socket.write(`${head}a: ${"b".repeat(200_000)}\r\n\r\n`)],
    ["two lengths", 400, (socket) => socket.write(`${head}content-length: 1\r\ncontent-length: 2\r\n\r\n{}`)],
    [
      "length and chunks",
      400,
      (socket) => socket.write(`${head}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`),
    ],
    [
      "a chunk of no size",
      400,
      (socket) => socket.write(`${head}transfer-encoding: chunked\r\n\r\nzz\r\n{}`),
    ],
    ["no host", 400, (socket) => socket.write("POST /v1/completions HTTP/1.1\r\n\r\n")],
    ["headers that never end", 408, (socket) => socket.write(`${head}a: `)],
    ["a body that never comes", 408, (socket) => socket.write(`${head}content-length: 100\r\n\r\n`)],
    ["silence", 408, () => {}],
  ])("%s", { timeout: 20_000 }, async (_, status, send) => {
    expect(rawStatus(await raw(send))).toBe(status);
    await expectAlive();
  });

  test("a body that drips", { timeout: 20_000 }, async () => {
    let drip: NodeJS.Timeout | undefined;
    const answer = await raw((socket) => {
      socket.write(`${head}content-length: 100000\r\n\r\n{"prompt":"`);
      drip = setInterval(() => socket.write("a"), 20);
    });
    clearInterval(drip);
    expect(rawStatus(answer)).toBe(408);
    await expectAlive();
  });

  test("a request whose client closes its half, and one whose client is gone at once", async () => {
    const body = JSON.stringify({ prompt: "p", stream: true, max_tokens: 1000 });
    const request = `${head}content-length: ${body.length}\r\n\r\n${body}`;
    await raw((socket) => socket.end(request));
    const socket = connect(server.port, "127.0.0.1");
    await once(socket, "connect");
    socket.write(request);
    await once(socket, "data");
    socket.resetAndDestroy();
    while (server.numOpenRequests > 0) await new Promise((resolve) => setTimeout(resolve, 5));
    await expectAlive();
  });

  test("a reader that takes nothing of its stream is left, and its request ends", {
    timeout: 20_000,
  }, async () => {
    const body = JSON.stringify({
      prompt: "p",
      stream: true,
      max_tokens: 2000,
      n: 50,
      temperature: 1,
      logprobs: 20,
    });
    const socket = connect(server.port, "127.0.0.1");
    await once(socket, "connect");
    socket.pause();
    socket.write(`${head}content-length: ${body.length}\r\n\r\n${body}`);
    while (server.numOpenRequests === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    while (server.numOpenRequests > 0) await new Promise((resolve) => setTimeout(resolve, 20));
    socket.destroy();
    await expectAlive();
  });
});
