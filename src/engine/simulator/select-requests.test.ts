import { expect, test } from "vitest";
import { traceRequest } from "../../../tests/trace-request.ts";
import { PromptMaker } from "./prompt-maker.ts";
import { selectRequests } from "./select-requests.ts";

test("equal hash ids give equal tokens, and nothing else is equal between two requests", () => {
  const maker = new PromptMaker();
  const a = maker.make(0, traceRequest({ numPromptTokens: 1100, hashIds: [7, 9] }));
  const b = maker.make(1, traceRequest({ numPromptTokens: 1000, hashIds: [7, 8] }));
  const c = maker.make(2, traceRequest({ numPromptTokens: 600, hashIds: [9] }));
  expect(a.slice(0, 512)).toEqual(b.slice(0, 512));
  expect(a.slice(512, 1024)).not.toEqual(b.slice(512, 1024));
  expect(c.slice(0, 512)).toEqual(a.slice(512, 1024));
  const ids = new Set(b.slice(512));
  expect(a.slice(512).some((id) => ids.has(id))).toBe(false);
  expect(a.slice(1024).some((id) => c.slice(512).includes(id))).toBe(false);
});

test("leaves out what does not fit or has nothing to do, and counts it", () => {
  const trace = [
    traceRequest({ numPromptTokens: 90, numOutputTokens: 10 }),
    traceRequest({ numPromptTokens: 91, numOutputTokens: 10 }),
    traceRequest({ numPromptTokens: 0 }),
    traceRequest({ numOutputTokens: 0 }),
    traceRequest({ arrivalMs: 500, maxTokens: 6 }),
    traceRequest({ arrivalMs: 501 }),
  ];
  const options = { maxTokens: 100, durationMs: 500, speed: 2, askedTokens: null };
  const { requests, numTooLong, numEmpty } = selectRequests(trace, options);
  expect({ numTooLong, numEmpty }).toEqual({ numTooLong: 1, numEmpty: 2 });
  expect(requests.map(({ arrivalMs, maxTokens }) => [arrivalMs, maxTokens])).toEqual([
    [0, 10],
    [250, 6],
  ]);
  const asked = selectRequests(trace, { ...options, askedTokens: 50 });
  expect(asked.requests.map(({ maxTokens }) => maxTokens)).toEqual([10, 6]);
});
