import { afterEach, expect, test, vi } from "vitest";
import { type ContextModel, contextLogits, createContextModel } from "../../tests/context-model.ts";
import type { MillraceError } from "../base/errors.ts";
import type { EngineClient, EngineInfo, RequestScheduling } from "../protocol/engine-client.ts";
import { defaultSampling } from "../protocol/sampling-params.ts";
import type { AdmissionSettings } from "./admission-control.ts";
import { Engine } from "./engine.ts";
import { createInProcessClient } from "./in-process-client.ts";
import type { VictimPolicyName } from "./victim-policy.ts";

const vocabSize = 17;
const stepMs = 10;

interface Setup {
  readonly admission?: Partial<AdmissionSettings>;
  readonly victims?: VictimPolicyName;
  readonly maxNumSeqs?: number;
  readonly numBlocks?: number;
}

interface Bench {
  readonly client: EngineClient;
  readonly engine: Engine;
  readonly context: ContextModel;
  /** Ids in the order in which their first token came. */
  readonly started: string[];
}

afterEach(() => {
  vi.restoreAllMocks();
});

/** An engine whose clock stands still, but for 10 ms per forward pass. */
function start(setup: Setup = {}): Bench {
  const { numBlocks = 64, maxNumSeqs = 1 } = setup;
  const maxNumBatchedTokens = 64;
  const context = createContextModel({ vocabSize, numBlocks, blockSize: 4 });
  let nowMs = 1000;
  vi.spyOn(performance, "now").mockImplementation(() => nowMs);
  context.onForward = () => {
    nowMs += stepMs;
  };
  const info: EngineInfo = {
    architecture: "ContextModel",
    vocabSize,
    maxModelLen: 64,
    maxNumSeqs,
    maxNumBatchedTokens,
    numTotalBlocks: numBlocks,
    blockSize: 4,
    kvDtype: "f32",
    backend: "fake",
    isa: "scalar",
    numThreads: 1,
    activations: "f32",
    dtype: "float32",
    eosTokenIds: [],
    memory: { weights: 0, kvCache: 0, arena: 0 },
    loadTimesMs: {},
    notes: [],
  };
  const engine = new Engine({
    ops: context.ops,
    model: context.model,
    cache: context.cache,
    host: null,
    info,
    longPrefillTokenThreshold: 0,
    admission: {
      schedulingPolicy: "fcfs",
      tenantWeights: new Map(),
      usesPriority: true,
      maxNumSeqs,
      maxNumBatchedTokens,
      maxNumQueuedRequests: 100,
      maxNumQueuedTokens: 0,
      maxNumQueuedRequestsPerTenant: 0,
      ...setup.admission,
    },
    victims: setup.victims ?? "lifo",
    isPrefixCaching: false,
    isPrefixChecking: false,
    speculation: null,
    seed: 7,
  });
  return { client: createInProcessClient(engine), engine, context, started: [] };
}

async function generate(
  bench: Bench,
  requestId: string,
  prompt: number[],
  maxTokens: number,
  scheduling: RequestScheduling = {},
): Promise<number[]> {
  const ids: number[] = [];
  const sampling = { ...defaultSampling, temperature: 0, maxTokens };
  for await (const output of bench.client.generate({
    requestId,
    promptTokenIds: prompt,
    sampling,
    scheduling,
  })) {
    if (ids.length === 0) bench.started.push(requestId);
    ids.push(...output.newTokenIds);
  }
  return ids;
}

/** What greedy decoding must give, from the plain token list. */
function greedy(prompt: number[], numTokens: number): number[] {
  const tokens = [...prompt];
  for (let step = 0; step < numTokens; step += 1) {
    const logits = contextLogits(tokens, vocabSize);
    tokens.push(logits.indexOf(Math.max(...logits)));
  }
  return tokens.slice(prompt.length);
}

async function codeOf(answer: Promise<unknown>): Promise<string> {
  return answer.then(
    () => "ok",
    (error: unknown) => (error as MillraceError).code,
  );
}

test("whoever starts first and whoever gives way, every answer has the same tokens", async () => {
  const prompts = Array.from({ length: 6 }, (_, index) =>
    Array.from({ length: 3 + 4 * index }, (_unused, place) => (index * 5 + place * 3) % vocabSize),
  );
  const expected = prompts.map((prompt) => greedy(prompt, 12));
  for (const schedulingPolicy of ["fcfs", "priority", "fair"] as const) {
    for (const victims of ["lifo", "fifo", "priority", "size"] as const) {
      const bench = start({ admission: { schedulingPolicy }, victims, maxNumSeqs: 4, numBlocks: 12 });
      const answers = await Promise.all(
        prompts.map((prompt, index) =>
          generate(bench, `r${index}`, prompt, 12, {
            priority: (index * 7) % 3,
            tenant: `t${index % 2}`,
          }),
        ),
      );
      expect(answers).toEqual(expected);
      expect((await bench.client.stats()).numPreemptions).toBeGreaterThan(0);
      bench.engine.checkInvariants();
      await bench.client.close();
    }
  }
});

test("a lower priority number starts first, whatever came before it", async () => {
  const bench = start({ admission: { schedulingPolicy: "priority" } });
  const priorities = [3, 1, 2, 0];
  await Promise.all(
    priorities.map((priority, index) => generate(bench, `r${index}`, [1, 2], 3, { priority })),
  );
  expect(bench.started).toEqual(["r3", "r1", "r2", "r0"]);
});

test("under fair queueing a tenant with one request does not wait behind another's crowd", async () => {
  const bench = start({ admission: { schedulingPolicy: "fair" } });
  const crowd = Array.from({ length: 5 }, (_, index) =>
    generate(bench, `crowd ${index}`, [1, 2], 3, { tenant: "crowd" }),
  );
  await Promise.all([...crowd, generate(bench, "one", [1, 2], 3, { tenant: "one" })]);
  expect(bench.started.slice(0, 2)).toEqual(["crowd 0", "one"]);
});

test("weights share the tokens between tenants that keep asking", async () => {
  const tenantWeights = new Map([["gold", 3]]);
  const bench = start({ admission: { schedulingPolicy: "fair", tenantWeights } });
  await Promise.all(
    Array.from({ length: 24 }, (_, index) => {
      const tenant = index % 2 === 0 ? "gold" : "other";
      return generate(bench, `${tenant} ${index}`, [1, 2], 3, { tenant });
    }),
  );
  const firstTwelve = bench.started.slice(0, 12).filter((id) => id.startsWith("gold"));
  expect(firstTwelve).toHaveLength(9);
});

test("a deadline that passes ends a running request, keeps what it gave, and frees its blocks", async () => {
  const bench = start();
  const given: number[] = [];
  const answer = (async () => {
    const sampling = { ...defaultSampling, temperature: 0, maxTokens: 40 };
    const scheduling = { deadlineMs: 5 * stepMs };
    const request = { requestId: "r", promptTokenIds: [1, 2, 3], sampling, scheduling };
    for await (const output of bench.client.generate(request)) given.push(...output.newTokenIds);
  })();
  await expect(answer).rejects.toMatchObject({
    code: "deadline_exceeded",
    message: expect.stringContaining("deadline of 50 ms passed after 5 output tokens") as string,
  });
  expect(given).toEqual(greedy([1, 2, 3], 5));
  expect(await bench.client.stats()).toMatchObject({ numRunning: 0, numWaiting: 0, numFreeBlocks: 64 });
  bench.engine.checkInvariants();
});

test("a deadline that passes ends a waiting request, and those that wait behind it still start", async () => {
  const bench = start();
  const answers = await Promise.all([
    codeOf(generate(bench, "long", [1, 2], 20)),
    codeOf(generate(bench, "late", [1, 2], 2, { deadlineMs: 5 * stepMs })),
    codeOf(generate(bench, "next", [1, 2], 2)),
  ]);
  expect(answers).toEqual(["ok", "deadline_exceeded", "ok"]);
  expect(bench.started).toEqual(["long", "next"]);
});

test("once the speed is known, a deadline that cannot be met is refused before any work", async () => {
  const bench = start();
  await generate(bench, "first", [1, 2], 20);
  const numSteps = (await bench.client.stats()).numSteps;
  const { onForward } = bench.context;
  // Arrives while the long one runs.
  const arrival = new Promise<() => Promise<unknown>>((resolve) => {
    bench.context.onForward = (batch) => {
      onForward(batch);
      bench.context.onForward = onForward;
      const refused = generate(bench, "refused", [1, 2], 2, { deadlineMs: 5 * stepMs });
      resolve(() => refused);
    };
  });
  const long = generate(bench, "long", [1, 2], 20);
  await expect((await arrival)()).rejects.toMatchObject({
    code: "deadline_unreachable",
    retryAfterSeconds: 1,
  });
  expect(await long).toEqual(greedy([1, 2], 20));
  expect((await bench.client.stats()).numSteps).toBe(numSteps + 20);
});

test("a refused request leaves nothing behind", async () => {
  const bench = start({ admission: { maxNumQueuedRequestsPerTenant: 1, maxNumQueuedTokens: 3 } });
  const answers = await Promise.all([
    codeOf(generate(bench, "a1", [1, 2], 2, { tenant: "a" })),
    codeOf(generate(bench, "a2", [1, 2], 2, { tenant: "a" })),
    codeOf(generate(bench, "b1", [1, 2], 2, { tenant: "b" })),
    codeOf(generate(bench, "c1", [1], 2, { tenant: "c" })),
    codeOf(generate(bench, "d1", [1], 2, { tenant: "x".repeat(300) })),
  ]);
  expect(answers).toEqual(["ok", "tenant_queue_full", "engine_overloaded", "ok", "invalid_request"]);
  expect(await bench.client.stats()).toMatchObject({ numRunning: 0, numWaiting: 0, numFreeBlocks: 64 });
  bench.engine.checkInvariants();
});
