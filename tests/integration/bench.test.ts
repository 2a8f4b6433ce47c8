import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, test } from "vitest";
import { silentProgress } from "../../src/base/progress.ts";
import { runSweep, type SweepOptions } from "../../src/bench/sweep.ts";
import type { RequestRecord } from "../../src/records/bench.ts";

/** A scripted completions server: `numTokens` events, then usage and [DONE]. */
interface Script {
  readonly numTokens: number;
  /** Answers this many requests, then closes every connection. */
  readonly diesAfter?: number;
  readonly status?: number;
}

let server: Server | null = null;

afterEach(() => {
  server?.closeAllConnections();
  server?.close();
  server = null;
});

async function listen(script: Script): Promise<string> {
  let answered = 0;
  server = createServer((request, response) => {
    if (request.url === "/v1/models") {
      response.end(JSON.stringify({ data: [{ id: "scripted" }] }));
      return;
    }
    request.resume().on("end", () => {
      answered += 1;
      if (script.diesAfter !== undefined && answered > script.diesAfter) {
        request.socket.destroy();
        return;
      }
      if (script.status !== undefined) {
        response.writeHead(script.status).end('{"error": {"message": "no"}}');
        return;
      }
      response.writeHead(200, { "content-type": "text/event-stream" });
      for (let index = 0; index < script.numTokens; index += 1) {
        response.write(`data: ${JSON.stringify({ choices: [{ text: "a", finish_reason: null }] })}\n\n`);
      }
      const usage = { prompt_tokens: 7, completion_tokens: script.numTokens };
      response.write(`data: ${JSON.stringify({ choices: [], usage })}\n\n`);
      response.end("data: [DONE]\n\n");
    });
  });
  await new Promise<void>((resolve) => server!.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function sweep(url: string, more: Partial<SweepOptions> = {}): ReturnType<typeof runSweep> {
  return runSweep({
    endpoint: { url },
    model: null,
    concurrencies: [1, 3],
    requestsPerSeat: 2,
    minRequests: 4,
    inputTokens: 8,
    outputTokens: 5,
    numWarmup: 1,
    seed: 1,
    vocabSize: 1000,
    progress: silentProgress,
    ...more,
  });
}

test("counts tokens as the server does and keeps every request", async () => {
  const kept: RequestRecord[] = [];
  const record = await sweep(await listen({ numTokens: 5 }), {
    onStage: (_stage, records) => kept.push(...records),
  });
  expect(record.model).toBe("scripted");
  expect(record.stages.map((stage) => [stage.concurrency, stage.numRequests, stage.outputTokens])).toEqual([
    [1, 4, 20],
    [3, 6, 30],
  ]);
  expect(record.stages.every((stage) => stage.promptTokens === 7 * stage.numRequests)).toBe(true);
  expect(kept).toHaveLength(10);
  expect(new Set(kept.map(({ index }) => index)).size).toBe(10);
  for (const { sentMs, firstTokenMs, lastTokenMs, endMs } of kept) {
    expect(sentMs).toBeLessThanOrEqual(firstTokenMs!);
    expect(firstTokenMs!).toBeLessThanOrEqual(lastTokenMs!);
    expect(lastTokenMs!).toBeLessThanOrEqual(endMs);
  }
});

test("keeps the records when the server dies in the middle, and says so", async () => {
  const kept: RequestRecord[] = [];
  const run = sweep(await listen({ numTokens: 5, diesAfter: 5 }), {
    onStage: (_stage, records) => kept.push(...records),
  });
  await expect(run).rejects.toMatchObject({ code: "endpoint_failed" });
  expect(kept.filter(({ error }) => error === null)).toHaveLength(4);
  expect(kept.filter(({ error }) => error !== null).length).toBeGreaterThan(0);
});

test("refuses a server that fails at the warm-up, with its words", async () => {
  const run = sweep(await listen({ numTokens: 5, status: 400 }));
  await expect(run).rejects.toThrow(/HTTP 400.*no/);
});

test("says that nobody answers", async () => {
  const url = await listen({ numTokens: 1 });
  server!.close();
  await expect(sweep(url)).rejects.toMatchObject({ code: "endpoint_unreachable" });
});
