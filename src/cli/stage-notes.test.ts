import { expect, test } from "vitest";
import { madeUpStage } from "../../tests/made-up-stage.ts";
import { stageNotes } from "./stage-notes.ts";

test("says what to do where the server refused because it was full", () => {
  const refused = { numErrors: 3, errorsByKind: { overloaded: 3 }, firstError: "HTTP 429: later" };
  const advice = "4 in flight: the server limits the rate; lower --concurrency.";
  expect(stageNotes({ ...madeUpStage(4, 100), ...refused }, null)).toContain(advice);
  expect(stageNotes(madeUpStage(4, 100), null)).not.toContain(advice);
});

test("every note ends with one stop", () => {
  const failed = {
    numErrors: 1,
    errorsByKind: { http: 1 },
    firstError: "HTTP 400: leave it out for its default.",
  };
  const [note] = stageNotes({ ...madeUpStage(4, 100), ...failed }, null);
  expect(note).toMatch(/for its default\.$/);
  expect(note).not.toMatch(/\.\.$/);
});

test("only an open loop offers a rate", () => {
  const stage = madeUpStage(4, 100);
  const { offered } = stage.throughput;
  const throughput = { ...stage.throughput, offered: { ...offered, requestsPerSecond: 34.44 } };
  expect(stageNotes({ ...stage, throughput }, null).join("")).not.toContain("offered");
  const { concurrency: _closed, ...figures } = stage;
  const open = {
    ...figures,
    throughput,
    requestRate: 34.44,
    burstiness: 1,
    arrivals: "Poisson",
    maxConcurrency: null,
    becameClosed: false,
    ttftFromDueMs: null,
    e2eFromDueMs: null,
  };
  expect(stageNotes(open, null)).toContain(
    "34.44 requests/s: 34.44 requests/s were offered, 8.00 completed.",
  );
});
