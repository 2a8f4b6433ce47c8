import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { evaluationOf, sampleOf } from "../../tests/made-up-evaluation.ts";
import { checkTasks } from "../evaluate/check-tasks.ts";
import { readEvaluation, writeEvaluation } from "./step-files.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), "millrace-steps-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const record = evaluationOf({ pebble: [0, 1, 2].map((id) => sampleOf(id, { acc: 1 })) });

test("keeps an evaluation that is whole, and only for the same inputs", () => {
  writeEvaluation(folder, record, "same");
  expect(readEvaluation(folder, "same")?.samples["pebble"]?.length).toBe(3);
  expect(readEvaluation(folder, "other")).toBeNull();
});

test("does not keep one whose samples are cut or damaged", () => {
  writeEvaluation(folder, record, "same");
  const file = path.join(folder, "samples_pebble.jsonl");
  const lines = readFileSync(file, "utf8").split("\n");
  writeFileSync(file, `${lines.slice(0, 2).join("\n")}\n`);
  expect(readEvaluation(folder, "same")).toBeNull();
  writeFileSync(file, [lines[0], lines[1]!.slice(0, 9), lines[2]].join("\n"));
  expect(readEvaluation(folder, "same")).toBeNull();
});

test("keeps the time, the machine and the build of the measurement", () => {
  writeEvaluation(folder, record, "same");
  expect(readEvaluation(folder, "same")?.origin).toEqual(record.origin);
  expect(record.origin.kernels).toBe("native avx2, 2 threads");
});

test("task files count by what they hold, embedded ones and those of shots too", () => {
  mkdirSync(path.join(folder, "arc"));
  const write = (split: string, text: string): void => {
    const file = path.join(folder, "arc", `ARC-Easy-${split}.jsonl`);
    writeFileSync(file, JSON.stringify({ query: text, choices: ["a", "b"], gold: 0 }));
    utimesSync(file, 1, 1);
  };
  const none = { forAll: null, byTask: new Map<string, never>() };
  const hashes = (): Record<string, string> =>
    checkTasks({
      tasks: ["pebble", "arc_easy"],
      limits: none,
      splits: none,
      numFewshot: { forAll: null, byTask: new Map([["arc_easy", 1]]) },
      dataDir: folder,
    });
  for (const split of ["test", "train"]) write(split, "one");
  const before = hashes();
  expect(hashes()).toEqual(before);
  write("test", "two");
  const after = hashes();
  expect(after["data/arc/ARC-Easy-test.jsonl"]).not.toBe(before["data/arc/ARC-Easy-test.jsonl"]);
  write("train", "two");
  expect(hashes()["data/arc/ARC-Easy-train.jsonl"]).not.toBe(after["data/arc/ARC-Easy-train.jsonl"]);
  const embedded = new URL("../../models/pebble/task/test.jsonl", import.meta.url);
  const hash = createHash("sha256").update(readFileSync(embedded)).digest("hex");
  expect(before["embedded/test.jsonl"]).toBe(hash);
});
