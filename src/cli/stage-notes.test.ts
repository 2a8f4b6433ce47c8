import { expect, test } from "vitest";
import { madeUpStage } from "../../tests/made-up-stage.ts";
import { stageNotes } from "./stage-notes.ts";

test("says what to do where the server refused because it was full", () => {
  const refused = { numErrors: 3, errorsByKind: { overloaded: 3 }, firstError: "HTTP 429: later" };
  const advice = "4 in flight: the server limits the rate; lower --concurrency.";
  expect(stageNotes({ ...madeUpStage(4, 100), ...refused }, null)).toContain(advice);
  expect(stageNotes(madeUpStage(4, 100), null)).not.toContain(advice);
});
