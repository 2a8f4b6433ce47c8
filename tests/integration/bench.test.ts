import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, test } from "vitest";
import { silentProgress } from "../../src/base/progress.ts";
import { runSweep, type SweepOptions } from "../../src/bench/sweep.ts";
import type { BenchRecord, RequestRecord } from "../../src/records/bench.ts";

/** A scripted completions server: `numTokens` events, then usage and [DONE]. */
interface Script {
  readonly numTokens: number;
  /** Answers this many requests, then closes every connection. */
  readonly diesAfter?: number;
  readonly status?: number;
  /** Tokens of `POST /tokenize`; without, the server has no such endpoint. */
  readonly wordIds?: readonly number[];
  /** Receives the prompt of every completion; gives what `usage` counts, 7 without. */
  readonly countPrompt?: (prompt: string | number[]) => number;
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
    if (request.url === "/metrics") {
      response.writeHead(404).end();
      return;
    }
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => {
      if (request.url === "/tokenize") {
        if (script.wordIds === undefined) response.writeHead(404).end("not found");
        else response.end(JSON.stringify({ tokens: script.wordIds }));
        return;
      }
      answered += 1;
      if (script.diesAfter !== undefined && answered > script.diesAfter) {
        request.socket.destroy();
        server!.close();
        return;
      }
      if (script.status !== undefined) {
        const error = { message: `the prompt is too long by ${"many ".repeat(100)}tokens`, code: 400 };
        response.writeHead(script.status).end(JSON.stringify({ error }));
        return;
      }
      const { prompt } = JSON.parse(Buffer.concat(parts).toString()) as { prompt: string | number[] };
      response.writeHead(200, { "content-type": "text/event-stream" });
      for (let index = 0; index < script.numTokens; index += 1) {
        response.write(`data: ${JSON.stringify({ choices: [{ text: "a", finish_reason: null }] })}\n\n`);
      }
      const usage = {
        prompt_tokens: script.countPrompt?.(prompt) ?? 7,
        completion_tokens: script.numTokens,
      };
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
    minSeconds: 0,
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

test("a stage whose raw records have no place is in the record all the same", async () => {
  const full = new Error("no room");
  const records: BenchRecord[] = [];
  const run = sweep(await listen({ numTokens: 5 }), {
    onStage: () => {
      throw full;
    },
    onRecord: (record) => void records.push(record),
  });
  await expect(run).rejects.toBe(full);
  expect(records.map(({ stages }) => stages.length)).toEqual([1]);
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

test("says that the server is gone when it dies in the last stage, after good requests", async () => {
  const url = await listen({ numTokens: 5, diesAfter: 4 });
  const run = sweep(url, { concurrencies: [1] });
  await expect(run).rejects.toMatchObject({
    code: "endpoint_failed",
    message: expect.stringMatching(/1 of 4 requests .*does not answer any more/) as string,
  });
});

test("tells the warm-up's refusal in the server's own words, whole and without JSON", async () => {
  const run = sweep(await listen({ numTokens: 5, status: 400 }));
  await expect(run).rejects.toThrow(
    /HTTP 400: the prompt is too long by (many ){100}tokens\. The server must/,
  );
  await expect(run).rejects.not.toThrow(/[{}]/);
});

test("adjusts the words of a text prompt until the server counts what was asked for", async () => {
  // 1.6 tokens a word and a BOS token.
  const countPrompt = (prompt: string | number[]): number =>
    1 + Math.round(1.6 * (prompt as string).split(" ").length);
  const url = await listen({ numTokens: 5, countPrompt });
  const record = await sweep(url, { vocabSize: null, inputTokens: 200, numWarmup: 2 });
  expect(record.workload).toMatchObject({ promptForm: "text", inputTokens: 200 });
  for (const { meanPromptTokens } of record.stages) {
    expect(Math.abs(meanPromptTokens! - 200)).toBeLessThanOrEqual(2);
  }
});

test("sends the asked number of word ids where the server has /tokenize", async () => {
  const prompts: (string | number[])[] = [];
  const wordIds = [11, 12, 13, 14];
  const countPrompt = (prompt: string | number[]): number => {
    prompts.push(prompt);
    return prompt.length;
  };
  const record = await sweep(await listen({ numTokens: 5, wordIds, countPrompt }), {
    vocabSize: null,
    inputTokens: 32,
  });
  expect(record.workload).toMatchObject({ promptForm: "token-ids", numWords: null });
  expect(record.stages.map((stage) => stage.meanPromptTokens)).toEqual([32, 32]);
  expect(prompts.every((prompt) => (prompt as number[]).every((id) => wordIds.includes(id)))).toBe(true);
  expect(new Set(prompts.map(String)).size).toBe(prompts.length);
});

test("a stage goes on until it is old enough", async () => {
  const kept: RequestRecord[] = [];
  const record = await sweep(await listen({ numTokens: 1 }), {
    concurrencies: [2],
    minSeconds: 0.5,
    onStage: (_stage, records) => kept.push(...records),
  });
  expect(record.stages[0]!.numRequests).toBe(kept.length);
  expect(Math.max(...kept.map((request) => request.endMs))).toBeGreaterThanOrEqual(500);
});

test("stops at once by the signal, in the warm-up and in a stage", async () => {
  for (const stopAt of [1, 4]) {
    const controller = new AbortController();
    let seen = 0;
    const countPrompt = (): number => {
      seen += 1;
      if (seen === stopAt) controller.abort(new Error("stopped"));
      return 7;
    };
    const stages: unknown[] = [];
    const run = sweep(await listen({ numTokens: 5, countPrompt }), {
      signal: controller.signal,
      onStage: (stage) => stages.push(stage),
    });
    await expect(run).rejects.toThrow("stopped");
    expect(stages).toEqual([]);
    server!.close();
  }
});

test("says that nobody answers", async () => {
  const url = await listen({ numTokens: 1 });
  server!.close();
  await expect(sweep(url)).rejects.toMatchObject({ code: "endpoint_unreachable" });
});
