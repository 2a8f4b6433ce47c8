import { mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { EvaluationRecord, EvaluationSample } from "../records/evaluation.ts";
import { describeData, fingerprintOf } from "./fingerprint.ts";
import { readEvaluation, writeEvaluation } from "./step-files.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), "millrace-steps-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const sample = (docId: number): EvaluationSample => ({
  doc_id: docId,
  doc: {},
  target: "0",
  arguments: [],
  resps: [],
  filtered_resps: [],
  filter: "none",
  doc_hash: "a",
  prompt_hash: `p${docId}`,
  target_hash: "t",
  metrics: { acc: 1 },
});

const record: EvaluationRecord = {
  kind: "evaluation",
  formatVersion: 2,
  millraceVersion: "0",
  results: { pebble: { "acc,none": 1 } },
  groups: {},
  group_subtasks: {},
  configs: {},
  versions: {},
  "n-shot": {},
  higher_is_better: {},
  "n-samples": { pebble: { original: 9, effective: 3 } },
  config: {
    model: "m",
    model_args: {},
    limit: null,
    bootstrap_iters: 1000,
    apply_chat_template: false,
    fewshot_as_multiturn: false,
    system_instruction: null,
  },
  date: 0,
  max_length: 8,
  total_evaluation_time_seconds: "1",
  samples: { pebble: [sample(0), sample(1), sample(2)] },
};

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

test("task data that changed give another fingerprint", () => {
  const file = path.join(folder, "arc.jsonl");
  writeFileSync(file, "one");
  const before = fingerprintOf({ data: describeData(folder) });
  expect(fingerprintOf({ data: describeData(folder) })).toBe(before);
  writeFileSync(file, "two");
  utimesSync(file, 1, 1);
  expect(fingerprintOf({ data: describeData(folder) })).not.toBe(before);
});
