import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { createHttpScorer } from "./http-scorer.ts";
import { JsonChannel } from "./json-channel.ts";

type Reply = { readonly status?: number; readonly body: unknown };

let server: Server | null = null;

/** A server that answers each request with the next reply; resolves with its URL. */
async function serve(replies: Reply[], seen: unknown[] = []): Promise<string> {
  server = createServer((message: IncomingMessage, response) => {
    const parts: Buffer[] = [];
    message.on("data", (part: Buffer) => parts.push(part));
    message.on("end", () => {
      seen.push({
        url: message.url,
        authorization: message.headers.authorization,
        body: JSON.parse(Buffer.concat(parts).toString()) as unknown,
      });
      const reply = replies.shift() ?? { status: 500, body: "none left" };
      response
        .writeHead(reply.status ?? 200, { "content-type": "application/json" })
        .end(JSON.stringify(reply.body));
    });
  });
  await new Promise<void>((resolve) => server!.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

afterEach(async () => {
  server?.closeAllConnections();
  await new Promise((resolve) => (server === null ? resolve(null) : server.close(resolve)));
  server = null;
});

const answer = {
  choices: [
    {
      logprobs: {
        token_logprobs: [null, -1, -0.5, -2, -9],
        top_logprobs: [null, { x: -1 }, { y: -0.25, z: -0.5 }, { w: -2 }, { v: -9 }],
      },
    },
  ],
};
const request = { tokenIds: [5, 6, 7, 8], start: 2, topK: 0 };

describe("createHttpScorer", () => {
  it("ends a request with the signal's own reason, and does not ask again", async () => {
    const leaving = new AbortController();
    let numAsked = 0;
    server = createServer(() => {
      numAsked += 1;
      leaving.abort(new Error("enough"));
    });
    await new Promise<void>((resolve) => server!.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const channel = new JsonChannel({ url, apiKey: "k" });
    const scorer = createHttpScorer(channel, "m");
    await expect(scorer.score(request, leaving.signal)).rejects.toThrow("enough");
    expect(numAsked).toBe(1);
    await channel.close();
  });

  it("sends token ids with echo and reads the scored tokens only", async () => {
    const seen: unknown[] = [];
    const url = await serve([{ body: answer }], seen);
    const channel = new JsonChannel({ url, apiKey: "k" });
    const scorer = createHttpScorer(channel, "m");
    const result = await scorer.score(request);
    await channel.close();
    expect([...result.logprobs]).toEqual([-0.5, -2]);
    expect([...result.argmax]).toEqual([-1, 8]);
    expect(seen).toEqual([
      {
        url: "/v1/completions",
        authorization: "Bearer k",
        body: {
          model: "m",
          prompt: [5, 6, 7, 8],
          max_tokens: 1,
          temperature: 0,
          logprobs: 1,
          echo: true,
          seed: 1234,
        },
      },
    ]);
  });

  it("accepts a server that echoes the same text, and names the tokenizer when it does not", async () => {
    const choice = answer.choices[0]!;
    const echoing = (text: string): Reply => ({ body: { choices: [{ ...choice, text }] } });
    const url = await serve([echoing("a red hat and"), echoing("\u00c3 zz")]);
    const channel = new JsonChannel({ url });
    const scorer = createHttpScorer(channel, "m");
    await scorer.check(request.tokenIds, " a red hat");
    await expect(scorer.check(request.tokenIds, " a red hat")).rejects.toMatchObject({
      code: "endpoint_failed",
      message: expect.stringContaining("--tokenizer") as string,
    });
    await channel.close();
  });

  it("asks an overloaded server again", async () => {
    const url = await serve([{ status: 503, body: {} }, { body: answer }]);
    const channel = new JsonChannel({ url });
    const scorer = createHttpScorer(channel, "m");
    expect([...(await scorer.score(request)).logprobs]).toEqual([-0.5, -2]);
    await channel.close();
  });

  it.each([
    ["refuses", { status: 400, body: { error: "no echo" } }, /400.*no echo/],
    ["returns no echo", { body: { choices: [{ text: "" }] } }, /token_logprobs/],
    [
      "counts other tokens",
      { body: { choices: [{ logprobs: { token_logprobs: [null, -1], top_logprobs: [null, {}] } }] } },
      /2 log-prob/,
    ],
    [
      "scores a token with null",
      { body: { choices: [{ logprobs: { token_logprobs: [null, -1, null, -1], top_logprobs: [] } }] } },
      /null for/,
    ],
  ])("fails plainly when the server %s", async (_name, reply, message) => {
    const channel = new JsonChannel({ url: await serve([reply]) });
    const scorer = createHttpScorer(channel, "m");
    await expect(scorer.score(request)).rejects.toMatchObject({
      code: "endpoint_failed",
      message: expect.stringMatching(message) as string,
    });
    await channel.close();
  });

  it("says when nothing listens", async () => {
    const url = await serve([]);
    await new Promise((resolve) => server!.close(resolve));
    server = null;
    const channel = new JsonChannel({ url });
    const scorer = createHttpScorer(channel, "m");
    await expect(scorer.score(request)).rejects.toMatchObject({ code: "endpoint_unreachable" });
    await channel.close();
  });
});
