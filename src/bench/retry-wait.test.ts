import { expect, test } from "vitest";
import { retryWaitMs } from "./retry-wait.ts";

test("a refusal is waited for as long as it asks, up to a minute", () => {
  expect(retryWaitMs(0)).toBe(0);
  expect(retryWaitMs(30)).toBe(30_000);
  expect(retryWaitMs(600)).toBe(60_000);
  expect(retryWaitMs(null)).toBe(1000);
});
