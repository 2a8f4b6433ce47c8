import fc from "fast-check";
import { expect, test } from "vitest";
import { type Bench, eos, greedy, startContextEngine, vocabSize } from "../../tests/context-engine.ts";
import { MillraceError } from "../base/errors.ts";
import type {
  EngineClient,
  EngineOutput,
  RequestScheduling,
  RequestTrace,
} from "../protocol/engine-client.ts";
import { defaultSampling } from "../protocol/sampling-params.ts";
import { StepHistory } from "./step-history.ts";

function start(numBlocks = 64, maxNumBatchedTokens = 8, maxNumQueuedRequests = 100): Bench {
  const admission = { maxNumQueuedRequests };
  return startContextEngine({ numBlocks, maxNumSeqs: 4, maxNumBatchedTokens, admission });
}

interface Asked {
  readonly prompt: readonly number[];
  readonly maxTokens: number;
  readonly deadlineMs?: number;
}

async function run(client: EngineClient, requestId: string, asked: Asked): Promise<EngineOutput[]> {
  const outputs: EngineOutput[] = [];
  const sampling = { ...defaultSampling, temperature: 0, ignoreEos: true, maxTokens: asked.maxTokens };
  const scheduling = asked.deadlineMs === undefined ? {} : { deadlineMs: asked.deadlineMs };
  const request = { requestId, promptTokenIds: asked.prompt, sampling, scheduling, explain: true };
  for await (const output of client.generate(request)) outputs.push(output);
  return outputs;
}

const traceOf = (outputs: readonly EngineOutput[]): RequestTrace => outputs.at(-1)!.trace!;
const prompt = (length: number, seed = 1): number[] =>
  Array.from({ length }, (_, index) => (seed + index * 5) % vocabSize);

test("counts the chunks of a prompt, what the cache had, and why it had no more", async () => {
  const { client } = start();
  const first = await run(client, "a", { prompt: prompt(20), maxTokens: 3 });
  expect(traceOf(first)).toMatchObject({
    numSteps: 5,
    numChunks: 3,
    numChunkTokens: 20,
    numPromptTokens: 20,
    numCachedTokens: 0,
    prefixHitEnd: "unknown",
    numPreemptions: 0,
    endedBy: "max_tokens",
  });
  expect(first[0]!.queuedMs).toBeGreaterThanOrEqual(0);
  expect(first.slice(1).every(({ queuedMs }) => queuedMs === undefined)).toBe(true);
  const again = traceOf(await run(client, "b", { prompt: prompt(20), maxTokens: 1 }));
  expect(again).toMatchObject({ numCachedTokens: 19, prefixHitEnd: "complete", numChunkTokens: 1 });
  const other = [...prompt(20).slice(0, 10), ...prompt(10, 4)];
  const diverged = traceOf(await run(client, "c", { prompt: other, maxTokens: 1 }));
  expect(diverged).toMatchObject({ numCachedTokens: 10, prefixHitEnd: "diverged", numChunkTokens: 10 });
});

test("times are in order, whatever happens", async () => {
  const { client } = start(14, 8);
  const traces = await Promise.all(
    Array.from({ length: 6 }, async (_, index) =>
      traceOf(await run(client, `r${index}`, { prompt: prompt(12, index + 1), maxTokens: 20 })),
    ),
  );
  for (const { firstStepMs, firstTokenMs, endMs } of traces) {
    expect(firstStepMs).toBeGreaterThanOrEqual(0);
    expect(firstTokenMs!).toBeGreaterThanOrEqual(firstStepMs!);
    expect(endMs).toBeGreaterThanOrEqual(firstTokenMs!);
  }
  const stats = await client.stats();
  const sum = (field: "numPreemptions" | "numRecomputedTokens"): number =>
    traces.reduce((total, trace) => total + trace[field], 0);
  expect(stats.numPreemptions).toBeGreaterThan(0);
  expect(sum("numPreemptions")).toBe(stats.numPreemptions);
  expect(sum("numRecomputedTokens")).toBe(stats.numRecomputedTokens);
});

test("without explain there is no trace, and an abort has one", async () => {
  const { client } = start();
  const sampling = { ...defaultSampling, maxTokens: 30 };
  for await (const output of client.generate({ requestId: "a", promptTokenIds: [1], sampling }))
    expect(output.trace).toBeUndefined();
  const request = { requestId: "b", promptTokenIds: [1], sampling, explain: true };
  let last: EngineOutput | null = null;
  for await (const output of client.generate(request)) {
    last = output;
    client.abort("b");
  }
  expect(last).toMatchObject({ finishReason: "abort", trace: { endedBy: "abort", numPromptTokens: 1 } });
});

test("recent steps say who took part, joined and left", async () => {
  const { client } = start(64, 64);
  await Promise.all([
    run(client, "long", { prompt: prompt(6), maxTokens: 4 }),
    run(client, "short", { prompt: prompt(5, 3), maxTokens: 2 }),
  ]);
  const steps = await client.recentSteps();
  expect(steps.map(({ index, numTokens, joined, left }) => ({ index, numTokens, joined, left }))).toEqual([
    { index: 0, numTokens: 11, joined: ["long", "short"], left: [] },
    { index: 1, numTokens: 2, joined: [], left: [] },
    { index: 2, numTokens: 1, joined: [], left: ["short"] },
    { index: 3, numTokens: 1, joined: [], left: [] },
  ]);
  expect(steps[0]!.active).toEqual([
    { requestId: "long", numTokens: 6 },
    { requestId: "short", numTokens: 5 },
  ]);
});

test("tells afterwards how every request ended, whether it asked or not, of the newest 256", async () => {
  const { client, context } = start(64, 64);
  context.poison.add(16);
  const ask = async (requestId: string, more: object, scheduling: RequestScheduling = {}): Promise<void> => {
    const sampling = { ...defaultSampling, temperature: 0, ignoreEos: true, maxTokens: 2, ...more };
    const promptTokenIds = requestId === "poisoned" ? [3, 16] : prompt(6);
    const request = { requestId, promptTokenIds, sampling, scheduling };
    try {
      for await (const output of client.generate(request)) expect(output.requestId).toBe(requestId);
    } catch (error) {
      expect(error).toBeInstanceOf(MillraceError);
    }
  };
  const first = greedy(prompt(6), 1)[0]!;
  const aborted = ask("aborted", {});
  client.abort("aborted");
  await aborted;
  await ask("long enough", {});
  await ask("stopped", { stopTokenIds: [first] });
  await ask("ended", { ignoreEos: false, logitBias: new Map([[eos, 100]]) });
  await client.score({ tokenIds: [1, 2, 3], start: 1, topK: 0 });
  await ask("poisoned", {});
  // Refused, so it has no life to tell of.
  await ask("late", { maxTokens: 50 }, { deadlineMs: 0.001 });
  const recent = await client.recentRequests();
  expect(recent.map(({ requestId, endedBy }) => [requestId, endedBy])).toEqual([
    ["aborted", "abort"],
    ["long enough", "max_tokens"],
    ["stopped", "stop_token"],
    ["ended", "end_token"],
    [expect.stringMatching(/^score-\d+$/), "scored"],
    ["poisoned", "error"],
  ]);
  expect(recent[1]).toMatchObject({ numSteps: 2, numChunks: 1, numChunkTokens: 6, numPromptTokens: 6 });
  for (let index = 0; index < 300; index += 1) await ask(`r${index}`, { maxTokens: 1 });
  const names = (await client.recentRequests()).map(({ requestId }) => requestId);
  expect(names).toEqual(Array.from({ length: 256 }, (_, index) => `r${index + 44}`));
});

test("keeps the newest steps only, and the oldest of them still knows who joined", () => {
  const history = new StepHistory(4096);
  for (let step = 0; step < 20; step += 1) {
    history.begin(step);
    history.add(`r${step}`, step);
    if (step % 2 === 0) history.add("all", 1);
    history.end(step + 0.5);
  }
  // The step that runs does not disturb those before it.
  history.begin(20);
  history.add("r20", 1);
  const steps = history.read();
  expect(steps).toHaveLength(history.numShown);
  expect(steps.at(-1)).toMatchObject({ index: 19, durationMs: 0.5, joined: ["r19"], left: ["r18", "all"] });
  expect(steps[0]).toMatchObject({ index: 12, numTokens: 13, joined: ["r12", "all"], left: ["r11"] });
});

test("every request and score ends in exactly one of the five outcomes", async () => {
  const kinds = fc.constantFrom("plain", "score", "abort", "refused", "late", "poisoned");
  await fc.assert(
    fc.asyncProperty(fc.array(kinds, { minLength: 1, maxLength: 24 }), async (all) => {
      const { client, context } = start(20, 16, 8);
      context.poison.add(16);
      const ends = await Promise.all(
        all.map(async (kind, index) => {
          try {
            if (kind === "score") {
              await client.score({ tokenIds: [1, 2, 3 + (index % 9)], start: 1, topK: 0 });
              return "finished";
            }
            const ids = kind === "poisoned" ? [3, 16] : [1 + (index % 9), 2];
            const asked = {
              prompt: ids,
              maxTokens: kind === "refused" ? 1000 : 6,
              ...(kind === "late" ? { deadlineMs: 0.001 } : {}),
            };
            const running = run(client, `r${index}`, asked);
            if (kind === "abort") client.abort(`r${index}`);
            return (await running).at(-1)!.finishReason === "abort" ? "aborted" : "finished";
          } catch {
            return "error";
          }
        }),
      );
      const { numFinished, numAborted, numRefused, numExpired, numFailed } = await client.stats();
      const count = (end: string): number => ends.filter((one) => one === end).length;
      expect(numFinished).toBe(count("finished"));
      expect(numAborted).toBe(count("aborted"));
      expect(numRefused + numExpired + numFailed).toBe(count("error"));
    }),
    { numRuns: 60 },
  );
});
