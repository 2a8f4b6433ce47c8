// What goes wrong with a server is in the row as what it was.
import { expect, test } from "vitest";
import { runSweep } from "../../src/bench/sweep.ts";
import type { RateStage } from "../../src/records/bench.ts";
import { atOnce, loadOptions, loadSimulator } from "../simulated-load.ts";

const good = { numTokens: 4, ttftMs: 2, itlMs: 1 };

test.each([
  ["cut off in mid-answer", { ...good, cutAfter: 2 }, "broken"],
  ["an error event in a stream of status 200", { ...good, errorAfter: 2 }, "in-stream"],
  ["usage and not one token", { ...good, usage: "only" as const }, "malformed"],
  ["full, by 429", { status: 429, retryAfter: 7, message: "try later" }, "overloaded"],
  ["full, by 503", { status: 503 }, "overloaded"],
  ["broken inside, by 500", { status: 500 }, "http"],
])("one request of three is %s", async (_name, bad, kind) => {
  const { stages, records, log, error } = await loadSimulator([good, bad, good], { rates: [atOnce(6)] });
  expect(error).toBeNull();
  expect(stages[0]).toMatchObject({ numRequests: 6, numErrors: 2, errorsByKind: { [kind]: 2 } });
  // Tokens of answers that failed are in no figure.
  expect(stages[0]!.outputTokens).toBe(4 * good.numTokens);
  const failed = records.filter((record) => record.error !== null);
  expect(failed.map(({ errorKind }) => errorKind)).toEqual([kind, kind]);
  expect(failed[0]!.retryAfterSeconds).toBe("retryAfter" in bad ? 7 : null);
  expect(log).toHaveLength(6);
});

test("where every request failed, the message speaks only of stages that were before it", async () => {
  const bad = { status: 500 };
  const alone = await loadSimulator([bad], { rates: [atOnce(2)] });
  expect(alone.error).toMatchObject({
    message: expect.stringMatching(/\. Look at the server's log/) as string,
  });
  expect(String(alone.error)).not.toMatch(/before|\.\./);
  const second = await loadSimulator([good, good, bad, bad], { rates: [atOnce(2), atOnce(2)] });
  expect(String(second.error)).toContain("1 stage before it ended well. Look at the server's log");
});

test("one that hangs is given up after the time that was asked for", async () => {
  const options = { rates: [atOnce(4)], timeoutMs: 300 };
  const { stages, records } = await loadSimulator([good, { hang: true }], options);
  expect(stages[0]).toMatchObject({ numErrors: 2, errorsByKind: { timeout: 2 } });
  for (const { errorKind, sentMs, endMs } of records)
    if (errorKind === "timeout") expect(endMs - sentMs).toBeGreaterThanOrEqual(300);
});

test("a user that was refused waits as long as the server asks", async () => {
  const scripts = [{ status: 429, retryAfter: 0.3 }, good];
  const { records, log } = await loadSimulator(scripts, { concurrencies: [1], minRequests: 4 });
  expect(records.map(({ errorKind }) => errorKind)).toEqual(["overloaded", null, "overloaded", null]);
  expect(log[1]!.receivedMs - log[0]!.receivedMs).toBeGreaterThanOrEqual(300);
});

test("a user that waits long holds up no stage that the others have filled", async () => {
  const scripts = [{ status: 429, retryAfter: 30 }, ...Array.from({ length: 20 }, () => good)];
  const { stages } = await loadSimulator(scripts, { concurrencies: [2], minRequests: 8 });
  expect(stages[0]).toMatchObject({ numErrors: 1 });
  expect(stages[0]!.durationMs).toBeLessThan(5000);
});

test.each([429, 503])("a user that was refused by %i without a word of when waits too", async (status) => {
  const scripts = [{ status }, good];
  const { records, log } = await loadSimulator(scripts, { concurrencies: [1], minRequests: 2 });
  expect(records.map(({ errorKind }) => errorKind)).toEqual(["overloaded", null]);
  expect(log[1]!.receivedMs - log[0]!.receivedMs).toBeGreaterThanOrEqual(1000);
});

test("what the end of the stage cuts off is censored: no error, in the bounds of goodput", async () => {
  const slow = { ...good, ttftMs: 60_000 };
  const { stages } = await loadSimulator([good, slow], {
    rates: [atOnce(10)],
    maxSeconds: 1,
    targets: [{ metric: "ttft", maxMs: 50_000 }],
  });
  expect(stages[0]).toMatchObject({ numRequests: 10, numErrors: 0, numCensored: 5, errorsByKind: {} });
  expect(stages[0]!.goodput).toMatchObject({ numGood: 5, numJudged: 5, share: 1, censoredBounds: [0.5, 1] });
  expect(stages[0]!.client.numUnsent).toBe(0);
});

test("one that is slow to start is waited for where that was asked, and named where it was not", async () => {
  const started = performance.now();
  const waited = await loadSimulator([good], {
    rates: [atOnce(2)],
    readyAfterMs: 600,
    readyTimeoutMs: 60_000,
  });
  expect(performance.now() - started).toBeGreaterThanOrEqual(600);
  expect(waited.stages[0]).toMatchObject({ numRequests: 2, numErrors: 0 });
  const refused = await loadSimulator([good], { rates: [atOnce(2)], readyAfterMs: 60_000 });
  expect(refused.error).toMatchObject({
    code: "endpoint_failed",
    message: expect.stringContaining("answered 503: loading") as string,
  });
});

test("nobody listens", async () => {
  const stages: RateStage[] = [];
  const run = runSweep({
    ...loadOptions("http://127.0.0.1:9"),
    model: "m",
    rates: [atOnce(3)],
    onStage: (stage) => stages.push(stage as RateStage),
  });
  await expect(run).rejects.toMatchObject({
    code: "endpoint_failed",
    message: expect.stringContaining("3 connect") as string,
  });
  expect(stages[0]!.errorsByKind).toEqual({ connect: 3 });
  // A client with nobody to talk to is busy for milliseconds; that is no verdict on it.
  expect(stages[0]!.client.faults).toEqual([]);
});
