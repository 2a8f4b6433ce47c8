// Two servers that are compared are asked with the same prompts, whether or not they give token ids for them.
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { silentProgress } from "../../src/base/progress.ts";
import { runVersus } from "../../src/bench/versus/run-versus.ts";
import type { VersusRecord } from "../../src/records/versus.ts";
import { loadOptions } from "../simulated-load.ts";

type Prompt = string | readonly number[];

interface Side {
  /** What `/tokenize` gives; null where it has no such path. */
  readonly tokenIds: readonly number[] | null;
  /** As it counts them in `usage`. */
  readonly tokensPerWord: number;
}

/** A server that notes the prompts that it gets. */
async function listen({ tokenIds, tokensPerWord }: Side): Promise<{ url: string; prompts: Prompt[] }> {
  const prompts: Prompt[] = [];
  const server: Server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => {
      if (request.url === "/v1/models") response.end(JSON.stringify({ data: [{ id: "scripted" }] }));
      else if (request.url === "/tokenize" && tokenIds !== null)
        response.end(JSON.stringify({ tokens: tokenIds }));
      else if (request.url !== "/v1/completions") response.writeHead(404).end();
      else {
        const { prompt } = JSON.parse(Buffer.concat(parts).toString()) as { prompt: Prompt };
        prompts.push(prompt);
        const size = typeof prompt === "string" ? tokensPerWord * prompt.split(" ").length : prompt.length;
        response.writeHead(200, { "content-type": "text/event-stream" });
        for (const text of ["a", "b"]) response.write(`data: ${JSON.stringify({ choices: [{ text }] })}\n\n`);
        const usage = { prompt_tokens: size, completion_tokens: 2 };
        response.end(`data: ${JSON.stringify({ choices: [], usage })}\n\ndata: [DONE]\n\n`);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, prompts };
}

/** What both got after the warm-up, without what is each side's own, and the record. */
async function compare(a: Side, b: Side): Promise<{ a: unknown[]; b: unknown[]; record: VersusRecord }> {
  const [first, second] = [await listen(a), await listen(b)];
  const options = { inputTokens: 32, outputTokens: 2, numWarmup: 1, vocabSize: null };
  const record = await runVersus({
    a: { ...loadOptions(first.url), ...options },
    b: { ...loadOptions(second.url), ...options, salt: 1 },
    load: { kind: "closed", plan: { concurrency: 1, numRequests: 1, minSeconds: 0 } },
    firstRounds: 4,
    maxRounds: 4,
    margin: 0.02,
    effect: 0.05,
    progress: silentProgress,
  });
  const shared = (prompt: Prompt): unknown =>
    typeof prompt === "string" ? prompt.split(" ").slice(4) : prompt.slice(4);
  return { a: first.prompts.slice(1).map(shared), b: second.prompts.slice(1).map(shared), record };
}

const ids = Array.from({ length: 50 }, (_, index) => 1000 + index);

test("both get token ids where both have the same for the words", async () => {
  const { a, b, record } = await compare(
    { tokenIds: ids, tokensPerWord: 1 },
    { tokenIds: ids, tokensPerWord: 1 },
  );
  expect(b).toEqual(a);
  for (const id of (a as number[][]).flat()) expect(ids).toContain(id);
  expect(record.workload).toMatchObject({ promptForm: "token-ids", numWords: null });
});

test.each([
  ["one has none", null],
  ["they differ", ids.map((id) => id + 1)],
])("both get the same text where %s, of as many words as A's count asks for", async (_, tokenIds) => {
  const { a, b, record } = await compare({ tokenIds: ids, tokensPerWord: 2 }, { tokenIds, tokensPerWord: 1 });
  expect(b).toEqual(a);
  // 32 tokens are 16 words, of which 4 are each side's own.
  expect(a).toHaveLength(8);
  for (const words of a as string[][]) expect(words).toHaveLength(12);
  expect(record.workload).toMatchObject({ promptForm: "text", numWords: 16 });
});
