import { expect, test } from "vitest";
import type { Origin } from "../records/origin.ts";
import type { VersusRecord, VersusRow } from "../records/versus.ts";
import { versusTable } from "./versus-table.ts";

const row: VersusRow = {
  metric: "tpotMs",
  a: 20,
  b: 20.2,
  ratio: 1.01,
  ratioLow: 0.9,
  ratioHigh: 1.1,
  noiseFloor: 0.1,
  numRounds: 20,
  roundsNeeded: 60,
  verdict: "undetermined",
};

function textOf(more: Partial<VersusRow>, endedEarly: VersusRecord["endedEarly"] = null): string {
  const side = { url: "http://127.0.0.1:8000", model: "m" };
  const record: VersusRecord = {
    kind: "versus",
    origin: {} as Origin,
    a: side,
    b: side,
    load: "8 in flight",
    workload: { promptForm: "text", numWords: 96 } as VersusRecord["workload"],
    margin: 0.02,
    effect: 0.05,
    legs: [],
    rows: [{ ...row, ...more }],
    faults: [],
    endedEarly,
  };
  return versusTable(record);
}

test("says how many rounds a verdict needs, and never more than can be asked for", () => {
  expect(textOf({})).toContain("run with --max-rounds 60 or more");
  const noisy = textOf({ roundsNeeded: 1193 });
  expect(noisy).toContain(
    "is not to be found here where it is undetermined: it would take more than 1000 rounds",
  );
  expect(noisy).toContain("> 1000");
  expect(noisy).not.toContain("1193");
});

test("says where only a part of the rounds was run", () => {
  expect(textOf({}, "interrupted")).toContain("Interrupted before its last round: only whole rounds count.");
  expect(textOf({})).not.toContain("before its last round");
});

test("says how both were asked", () => {
  expect(textOf({})).toContain("Load: 8 in flight. Both were asked with text of 96 words.");
});
