import { expect, test } from "vitest";
import { retryAfterSecondsOf } from "./retry-after.ts";

const served = "Sun, 29 Nov 2026 12:00:00 GMT";

test.each([
  ["30", 30],
  ["0.3", 0.3],
  ["Sun, 29 Nov 2026 12:00:45 GMT", 45],
  ["Sunday, 29-Nov-26 12:00:45 GMT", 45],
  ["Sun, 29 Nov 2026 11:00:00 GMT", 0],
  ["-5", null],
  ["soon", null],
  ["", null],
])("reads %j as %j seconds", (text, seconds) => {
  const headers = new Map([
    ["retry-after", text],
    ["date", served],
  ]);
  expect(retryAfterSecondsOf(headers)).toBe(seconds);
});

test("without a word of it there is no wait, and without the server's clock this one's counts", () => {
  expect(retryAfterSecondsOf(new Map())).toBeNull();
  const soon = new Date(Date.now() + 90_000).toUTCString();
  expect(retryAfterSecondsOf(new Map([["retry-after", soon]]))).toBeCloseTo(90, -1);
});
