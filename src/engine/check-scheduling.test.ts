import { expect, test } from "vitest";
import type { RequestScheduling } from "../protocol/engine-client.ts";
import { checkScheduling } from "./check-scheduling.ts";

test("takes what has a meaning", () => {
  const scheduling = { priority: -3, tenant: "gold", arrivalMs: 1, deadlineMs: 0.5, cacheSalt: "s" };
  expect(() => checkScheduling(scheduling, true)).not.toThrow();
  expect(() => checkScheduling({}, false)).not.toThrow();
  expect(() => checkScheduling({ priority: 0 }, false)).not.toThrow();
});

test("refuses a priority that nothing reads, and says what would", () => {
  expect(() => checkScheduling({ priority: 1 }, false)).toThrow("--scheduling-policy priority");
});

test("names the field and the value of what has none", () => {
  const wrong: [RequestScheduling, string][] = [
    [{ priority: 1.5 }, "priority is 1.5"],
    [{ priority: 2 ** 31 }, "priority is 2147483648"],
    [{ priority: Number.NaN }, "priority is NaN"],
    [{ tenant: "x".repeat(257) }, "tenant is a text of 257 characters"],
    [{ arrivalMs: Number.NaN }, "arrivalMs is NaN; it takes a time in milliseconds since 1970"],
    [{ deadlineMs: 0 }, "deadline_ms is 0"],
    [{ deadlineMs: Infinity }, "deadline_ms is Infinity"],
    [{ cacheSalt: "" }, "cache_salt is a text of 0 characters"],
    [{ cacheSalt: "x".repeat(257) }, "cache_salt is a text of 257 characters"],
  ];
  for (const [scheduling, text] of wrong) {
    expect(() => checkScheduling(scheduling, true)).toThrow(text);
  }
});
