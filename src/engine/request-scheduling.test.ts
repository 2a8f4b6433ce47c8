import { afterEach, expect, test, vi } from "vitest";
import {
  type Bench,
  greedy,
  prompts,
  type Setup,
  startContextEngine,
  vocabSize,
} from "../../tests/context-engine.ts";
import type { MillraceError } from "../base/errors.ts";
import type { EngineStats, RequestScheduling } from "../protocol/engine-client.ts";
import { defaultSampling } from "../protocol/sampling-params.ts";

const stepMs = 10;

interface TimedBench extends Bench {
  /** Ids in the order in which their first token came. */
  readonly started: string[];
}

afterEach(() => {
  vi.restoreAllMocks();
});

/** An engine that runs one sequence at a time, and whose clock stands still but for 10 ms per forward pass. */
function start(setup: Setup = {}): TimedBench {
  let nowMs = 1000;
  vi.spyOn(performance, "now").mockImplementation(() => nowMs);
  const admission = { usesPriority: true, ...setup.admission };
  const bench = startContextEngine({ maxNumSeqs: 1, isPrefixCaching: false, ...setup, admission });
  bench.context.onForward = () => {
    nowMs += stepMs;
  };
  return { ...bench, started: [] };
}

const greedySampling = { ...defaultSampling, temperature: 0, ignoreEos: true };

async function generate(
  bench: TimedBench,
  requestId: string,
  prompt: number[],
  maxTokens: number,
  scheduling: RequestScheduling = {},
): Promise<number[]> {
  const ids: number[] = [];
  const sampling = { ...greedySampling, maxTokens };
  const request = { requestId, promptTokenIds: prompt, sampling, scheduling };
  for await (const output of bench.client.generate(request)) {
    if (ids.length === 0) bench.started.push(requestId);
    ids.push(...output.newTokenIds);
  }
  return ids;
}

async function codeOf(answer: Promise<unknown>): Promise<string> {
  return answer.then(
    () => "ok",
    (error: unknown) => (error as MillraceError).code,
  );
}

test("whoever starts first and whoever gives way, every answer has the same tokens", async () => {
  const six = prompts.slice(0, 6);
  const expected = six.map((prompt) => greedy(prompt, 12));
  for (const schedulingPolicy of ["fcfs", "priority", "fair"] as const) {
    for (const victims of ["lifo", "fifo", "priority", "size"] as const) {
      const bench = start({ admission: { schedulingPolicy }, victims, maxNumSeqs: 4, numBlocks: 12 });
      const answers = await Promise.all(
        six.map((prompt, index) =>
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
    const sampling = { ...greedySampling, maxTokens: 40 };
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

test("a deadline counts from the arrival that the request names, for each of its parts", async () => {
  const bench = start({ maxNumBatchedTokens: 4 });
  const tokenIds = Array.from({ length: 40 }, () => 3);
  // Half of its time is gone already.
  const scheduling = {
    deadlineMs: 4 * stepMs,
    arrivalMs: performance.timeOrigin + performance.now() - 2 * stepMs,
  };
  const late = {
    code: "deadline_exceeded",
    message: expect.stringContaining("deadline of 40 ms passed") as string,
  };
  await expect(bench.client.score({ tokenIds, start: 1, topK: 0, scheduling })).rejects.toMatchObject(late);
  expect(await bench.client.stats()).toMatchObject({ numSteps: 2, numExpired: 1 });
  await expect(generate(bench, "second part", [1, 2], 1, scheduling)).rejects.toMatchObject({
    code: "deadline_unreachable",
    message: expect.stringContaining("the request's deadline had passed before the engine read it") as string,
  });
  bench.engine.checkInvariants();
});

test("a signal ends a score with its own reason, before and while it runs, and frees its blocks", async () => {
  const bench = start({ maxNumBatchedTokens: 4 });
  const request = { tokenIds: Array.from({ length: 40 }, () => 3), start: 1, topK: 0 };
  const reason = new Error("enough");
  await expect(bench.client.score(request, AbortSignal.abort(reason))).rejects.toBe(reason);
  const leaving = new AbortController();
  const { onForward } = bench.context;
  bench.context.onForward = (batch) => {
    onForward(batch);
    if (batch.contextLengths[0] === 12) leaving.abort(reason);
  };
  const score = bench.client.score(request, leaving.signal);
  await expect(score).rejects.toBe(reason);
  await generate(bench, "after", [1, 2], 1);
  const stats = { numAborted: 1, numFinished: 1, numSteps: 4, numFreeBlocks: 64 };
  // Three steps of four tokens, then one of two.
  const byTokens = { numStepTokens: 14, numStepsByTokens: [0, 4, ...Array.from({ length: 12 }, () => 0)] };
  expect(await bench.client.stats()).toMatchObject({ ...stats, ...byTokens });
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

/** One that computes a long prompt in small chunks, and two that wait for it; `arrive` is called while they do. */
async function follow(
  setup: Setup,
  deadlineMs: number,
  arrive: (bench: TimedBench, prompt: number[]) => void,
): Promise<{ readonly bench: TimedBench; readonly codes: string[] }> {
  const limits = { maxNumSeqs: 4, maxNumBatchedTokens: 16, longPrefillTokenThreshold: 4 };
  const bench = start({ ...limits, isPrefixCaching: true, ...setup });
  const prompt = Array.from({ length: 40 }, (_, place) => (place * 3) % vocabSize);
  const answers: Promise<string>[] = [];
  const ask = (requestId: string, scheduling: RequestScheduling): void => {
    answers.push(codeOf(generate(bench, requestId, prompt, 2, scheduling)));
  };
  const { onForward } = bench.context;
  let numSteps = 0;
  bench.context.onForward = (batch) => {
    onForward(batch);
    numSteps += 1;
    if (numSteps === 1) ask("first", { tenant: "a", deadlineMs });
    if (numSteps === 1) ask("second", { tenant: "a" });
    if (numSteps === 4) arrive(bench, prompt);
  };
  ask("leader", {});
  await answers[0];
  return { bench, codes: await Promise.all(answers) };
}

test("who waits for another's prefix counts as waiting: in the figures and in every cap of the queue", async () => {
  const caps = { maxNumQueuedRequests: 3, maxNumQueuedTokens: 120, maxNumQueuedRequestsPerTenant: 2 };
  for (const maxNumQueuedTokens of [120, 80]) {
    const answers: Promise<string>[] = [];
    const admission = { ...caps, maxNumQueuedTokens };
    let stats: EngineStats | null = null;
    const { bench, codes } = await follow({ admission }, 1000, (running, prompt) => {
      void running.client.stats().then((now) => (stats = now));
      answers.push(codeOf(generate(running, "mine", prompt, 1, { tenant: "a" })));
      answers.push(codeOf(generate(running, "other", prompt, 1, { tenant: "b" })));
      answers.push(codeOf(generate(running, "short", [1], 1, { tenant: "c" })));
    });
    expect(codes).toEqual(["ok", "ok", "ok"]);
    const retryAfterSeconds = maxNumQueuedTokens === 80 ? 1 : 0;
    expect(stats).toMatchObject({ numWaiting: 2, numDeferred: 2, numWaitingTokens: 80, retryAfterSeconds });
    const ends =
      maxNumQueuedTokens === 120 ? ["ok", "engine_overloaded"] : ["engine_overloaded", "engine_overloaded"];
    expect(await Promise.all(answers)).toEqual(["tenant_queue_full", ...ends]);
    // Each of those that were taken found the nine full blocks of the prefix.
    const prefixCacheHits = (maxNumQueuedTokens === 120 ? 3 : 2) * 36;
    expect(await bench.client.stats()).toMatchObject({
      numWaiting: 0,
      retryAfterSeconds: 0,
      prefixCacheHits,
    });
    bench.engine.checkInvariants();
    await bench.client.close();
  }
});

test("a deadline ends who waits for another's prefix", async () => {
  const { bench, codes } = await follow({}, 5 * stepMs, () => {});
  expect(codes).toEqual(["ok", "deadline_exceeded", "ok"]);
  expect(bench.started).toEqual(["leader", "second"]);
  const [late] = await bench.client.recentRequests();
  expect(late).toMatchObject({
    requestId: "first",
    endedBy: "deadline",
    firstStepMs: null,
    endMs: 5 * stepMs,
  });
  expect(await bench.client.stats()).toMatchObject({ numRunning: 0, numWaiting: 0, numFreeBlocks: 64 });
  bench.engine.checkInvariants();
});
