import fc from "fast-check";
import { expect, test } from "vitest";
import { httpStatusOf, MillraceError } from "../base/errors.ts";
import type { RequestScheduling } from "../protocol/engine-client.ts";
import { AdmissionControl, type AdmissionSettings } from "./admission-control.ts";

const settings: AdmissionSettings = {
  schedulingPolicy: "fcfs",
  tenantWeights: new Map(),
  usesPriority: false,
  maxNumSeqs: 2,
  maxNumBatchedTokens: 100,
  maxNumQueuedRequests: 3,
  maxNumQueuedTokens: 0,
  maxNumQueuedRequestsPerTenant: 0,
};
const numRows = 8;

/** A control and the few calls that an engine makes; its clock stands at 0 unless a call says otherwise. */
class Gate {
  readonly control: AdmissionControl;
  numRunning = 0;
  #nextRow = 0;

  constructor(changes: Partial<AdmissionSettings> = {}) {
    this.control = new AdmissionControl({ ...settings, ...changes }, numRows);
  }

  check(numPromptTokens: number, scheduling?: RequestScheduling, nowMs = 0): void {
    const load = { numWaiting: this.control.queue.numWaiting, numRunning: this.numRunning };
    this.control.check({ numPromptTokens, scheduling, arrivalMs: 0 }, load, nowMs);
  }

  open(numPromptTokens: number, scheduling?: RequestScheduling): number {
    this.check(numPromptTokens, scheduling);
    const row = this.#nextRow;
    this.#nextRow += 1;
    this.control.admit(row, { numPromptTokens, scheduling, arrivalMs: 0 });
    this.control.queue.enqueue(row);
    return row;
  }

  start(): number {
    const row = this.control.queue.peek();
    this.control.queue.remove(row);
    this.numRunning += 1;
    return row;
  }
}

function refusal(run: () => void): MillraceError {
  try {
    run();
  } catch (error) {
    if (error instanceof MillraceError) return error;
    throw error;
  }
  throw new Error("the request was taken");
}

test("a full queue refuses with 503 and the seconds to wait", () => {
  const gate = new Gate();
  for (let count = 0; count < 3; count += 1) gate.open(100);
  gate.control.estimate.stepTimes.observe(100, 4000);
  const error = refusal(() => gate.check(1));
  expect(error.code).toBe("engine_overloaded");
  expect(httpStatusOf(error)).toBe(503);
  // Three prompts of 4 seconds; half of it.
  expect(error.retryAfterSeconds).toBe(6);
  expect(error.message).toContain("3 requests wait already; the queue takes 3");
});

test("the cap in tokens counts waiting prompts only, and lets a long one in while none waits", () => {
  const gate = new Gate({ maxNumQueuedTokens: 50 });
  gate.open(80);
  const error = refusal(() => gate.check(1));
  expect(error).toMatchObject({ code: "engine_overloaded", retryAfterSeconds: 1 });
  expect(error.message).toContain("80 prompt tokens wait already and the request has 1; the queue takes 50");
  gate.start();
  gate.open(30);
  gate.open(20);
  expect(refusal(() => gate.check(1)).code).toBe("engine_overloaded");
});

test("one tenant's cap refuses that tenant with 429 and leaves others alone", () => {
  const gate = new Gate({ maxNumQueuedRequestsPerTenant: 1 });
  gate.open(1, { tenant: "a" });
  const error = refusal(() => gate.check(1, { tenant: "a" }));
  expect(error.code).toBe("tenant_queue_full");
  expect(httpStatusOf(error)).toBe(429);
  expect(error.retryAfterSeconds).toBe(1);
  expect(error.message).toContain('1 requests of tenant "a" wait already; a tenant may have 1.');
  gate.open(1, { tenant: "b" });
  gate.open(1);
  expect(refusal(() => gate.check(1, { tenant: "" })).message).toContain(
    "1 requests without a tenant wait already",
  );
});

test("a deadline that the work ahead does not leave room for is refused at once, with 503", () => {
  const gate = new Gate();
  gate.control.estimate.stepTimes.observe(100, 1000);
  gate.open(100);
  gate.open(100);
  expect(() => gate.check(100, { deadlineMs: 3000 })).not.toThrow();
  const error = refusal(() => gate.check(100, { deadlineMs: 1200 }));
  expect(error.code).toBe("deadline_unreachable");
  expect(httpStatusOf(error)).toBe(503);
  expect(error.retryAfterSeconds).toBe(2);
  expect(error.message).toContain("3.0 s away by the measured speed; the request's deadline leaves 1.2 s");
});

test("time already spent before admission counts against the deadline", () => {
  const gate = new Gate();
  expect(() => gate.check(1, { deadlineMs: 100 }, 99)).not.toThrow();
  expect(refusal(() => gate.check(1, { deadlineMs: 100 }, 100)).code).toBe("deadline_unreachable");
});

test("only what is sure to start earlier stands ahead: by priority, or of one's own tenant", () => {
  const byPriority = new Gate({ schedulingPolicy: "priority", usesPriority: true });
  byPriority.control.estimate.stepTimes.observe(100, 1000);
  byPriority.open(100, { priority: 1 });
  byPriority.open(100, { priority: 1 });
  expect(() => byPriority.check(100, { priority: 0, deadlineMs: 1500 })).not.toThrow();
  expect(() => byPriority.check(100, { priority: 1, deadlineMs: 1500 })).toThrow("3.0 s away");

  const fair = new Gate({ schedulingPolicy: "fair" });
  fair.control.estimate.stepTimes.observe(100, 1000);
  fair.open(100, { tenant: "a" });
  fair.open(100, { tenant: "a" });
  expect(() => fair.check(100, { tenant: "b", deadlineMs: 1500 })).not.toThrow();
  expect(() => fair.check(100, { tenant: "a", deadlineMs: 1500 })).toThrow("3.0 s away");
});

test("a request that waits for another's prefix fills the queue and stands ahead like any other", () => {
  const caps = { maxNumQueuedRequests: 2, maxNumQueuedTokens: 150, maxNumQueuedRequestsPerTenant: 2 };
  for (const [name, cap] of Object.entries(caps)) {
    const gate = new Gate({ maxNumQueuedRequests: 5, [name]: cap });
    gate.control.estimate.stepTimes.observe(100, 1000);
    gate.open(100);
    gate.control.queue.setAside(gate.open(50));
    const error = refusal(() => gate.check(1));
    expect(error.code).toBe(name.endsWith("Tenant") ? "tenant_queue_full" : "engine_overloaded");
    expect(error.retryAfterSeconds).toBe(1);
  }
  const gate = new Gate();
  gate.control.estimate.stepTimes.observe(100, 1000);
  gate.open(100);
  gate.control.queue.setAside(gate.open(100));
  expect(() => gate.check(100, { deadlineMs: 2500 })).toThrow("3.0 s away");
});

test("when all places are taken, a deadline must leave time for one to become free", () => {
  const gate = new Gate();
  gate.control.estimate.stepTimes.observe(1, 10);
  gate.control.estimate.observeAnswer(200);
  gate.open(1);
  gate.open(1);
  gate.start();
  gate.start();
  // Two sequences draw: 200 tokens are 100 steps of 10 ms.
  expect(() => gate.check(1, { deadlineMs: 900 })).toThrow("1.0 s away");
  expect(() => gate.check(1, { deadlineMs: 1100 })).not.toThrow();
});

test("a passed deadline is told once, waiting or running, with an error of status 504", () => {
  const gate = new Gate();
  const waiting = gate.open(1, { deadlineMs: 100 });
  gate.open(1);
  const later = gate.open(1, { deadlineMs: 200 });
  const into = new Int32Array(numRows);
  expect(gate.control.expired(99, into)).toBe(0);
  expect(gate.control.expired(100, into)).toBe(1);
  expect(into[0]).toBe(waiting);
  const error = gate.control.deadlineError(waiting, 0);
  expect(error.code).toBe("deadline_exceeded");
  expect(httpStatusOf(error)).toBe(504);
  expect(error.message).toContain("deadline of 100 ms passed before its first token");
  expect(gate.control.deadlineError(waiting, 1234).message).toContain("after 1,234 output tokens");
  gate.control.queue.remove(later);
  gate.control.release(later);
  expect(gate.control.expired(1000, into)).toBe(0);
});

test("whatever comes and goes, the books are empty when all rows have closed", () => {
  const action = fc.record({
    kind: fc.constantFrom("open", "start", "setAside", "callBack", "preempt", "close"),
    row: fc.nat(numRows - 1),
    tokens: fc.integer({ min: 1, max: 90 }),
    tenant: fc.constantFrom("", "a", "b", "c"),
  });
  const policies = fc.constantFrom("fcfs", "priority", "fair");
  fc.assert(
    fc.property(policies, fc.array(action, { maxLength: 100 }), (schedulingPolicy, actions) => {
      const control = new AdmissionControl({ ...settings, schedulingPolicy }, numRows);
      const { queue } = control;
      const states = new Map<number, "waiting" | "aside" | "running">();
      const numTokens = new Map<number, number>();
      const close = (row: number): void => {
        if (states.get(row) !== "running") queue.remove(row);
        control.release(row);
        states.delete(row);
      };
      for (const { kind, row, tokens, tenant } of actions) {
        const state = states.get(row);
        if (kind === "open" && state === undefined) {
          control.admit(row, {
            numPromptTokens: tokens,
            scheduling: { tenant, deadlineMs: tokens },
            arrivalMs: 0,
          });
          queue.enqueue(row);
          states.set(row, "waiting");
          numTokens.set(row, tokens);
        } else if (kind === "start" && queue.peek() !== -1) {
          states.set(queue.peek(), "running");
          queue.remove(queue.peek());
        } else if (kind === "setAside" && queue.peek() !== -1) {
          states.set(queue.peek(), "aside");
          queue.setAside(queue.peek());
        } else if (kind === "callBack") {
          queue.callBack((each) => each !== row);
          if (state === "aside") states.set(row, "waiting");
        } else if (kind === "preempt" && state === "running") {
          queue.requeue(row);
          states.set(row, "waiting");
        } else if (kind === "close" && state !== undefined) close(row);
        const waiting = [...states].filter(([, each]) => each !== "running").map(([each]) => each);
        expect(queue.numWaiting).toBe(waiting.length);
        expect(queue.numWaitingTokens).toBe(waiting.reduce((sum, each) => sum + numTokens.get(each)!, 0));
      }
      for (const row of states.keys()) close(row);
      expect([queue.numWaiting, queue.numWaitingTokens, queue.peek()]).toEqual([0, 0, -1]);
      expect(control.expired(1000, new Int32Array(numRows))).toBe(0);
    }),
  );
});
