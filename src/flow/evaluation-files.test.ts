import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { evaluationOf, sampleOf } from "../../tests/made-up-evaluation.ts";
import { checkTasks } from "../evaluate/check-tasks.ts";
import { builtInTasks } from "../evaluate/task-registry.ts";
import { findEvaluation, readEvaluation, writeEvaluation } from "./evaluation-files.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), "millrace-steps-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const record = evaluationOf({ pebble: [0, 1, 2].map((id) => sampleOf(id, { acc: 1 })) });

test("keeps an evaluation that is whole, and only for the same inputs", () => {
  const file = writeEvaluation(folder, record, "same");
  expect(findEvaluation(folder, "same")).toMatchObject({ file });
  expect(findEvaluation(folder, "same")?.record.samples).toEqual(record.samples);
  expect(findEvaluation(folder, "other")).toBeNull();
});

test("does not keep one whose samples are cut or damaged", () => {
  writeEvaluation(folder, record, "same");
  const file = path.join(folder, "samples_pebble_1970-01-01T00-00-00.000000.jsonl");
  const lines = readFileSync(file, "utf8").split("\n");
  writeFileSync(file, `${lines.slice(0, 2).join("\n")}\n`);
  expect(findEvaluation(folder, "same")).toBeNull();
  writeFileSync(file, [lines[0], lines[1]!.slice(0, 9), lines[2]].join("\n"));
  expect(findEvaluation(folder, "same")).toBeNull();
});

test("keeps the time, the machine and the build of the measurement", () => {
  writeEvaluation(folder, record, "same");
  expect(findEvaluation(folder, "same")?.record.origin).toEqual(record.origin);
  expect(record.origin?.kernels).toBe("native avx2, 2 threads");
});

test("reads the newest evaluation of a folder, the one of its only model, or the file that is named", () => {
  const inner = path.join(folder, "m");
  const first = writeEvaluation(inner, record);
  writeEvaluation(inner, { ...record, date: 60, model_name: "newer" });
  expect(readEvaluation(inner).model_name).toBe("newer");
  expect(readEvaluation(folder).model_name).toBe("newer");
  expect(readEvaluation(first).model_name).toBe("m");
  writeEvaluation(path.join(folder, "n"), record);
  expect(() => readEvaluation(folder)).toThrow(/evaluations of 2 models: .*Give the folder of one/);
  expect(() => readEvaluation(path.join(folder, "none"))).toThrow(/no whole evaluation/);
});

test.each([
  ["multiple_choice", [[-1.5, true] as const, [-1e-7, false] as const]],
  ["loglikelihood_rolling", [-1234]],
  ["generate_until", ["An answer, -1.5"]],
])("gives back every response of a %s sample as it was", (outputType, responses) => {
  const sample = {
    ...sampleOf(0, { acc: 1, words: [-2.5, 3], parts: [true, false] }),
    arguments: [
      ["context", " answer"],
      ["context", " other"],
    ],
    resps: responses.map((each) => [each]),
    filtered_resps: responses,
  };
  const made = evaluationOf({ pebble: [sample] });
  const file = writeEvaluation(folder, { ...made, configs: { pebble: { output_type: outputType } } });
  expect(readEvaluation(file).samples["pebble"]).toEqual([sample]);
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
      registry: builtInTasks,
      limits: none,
      splits: none,
      numFewshot: { forAll: null, byTask: new Map([["arc_easy", 1]]) },
      revisions: { forAll: null, byTask: new Map() },
      dataDir: folder,
      hubRows: null,
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
  expect(before["embedded/models/pebble/task/test.jsonl"]).toBe(hash);
});
