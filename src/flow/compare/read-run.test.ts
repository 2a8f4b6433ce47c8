import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import { readRun } from "./read-run.ts";

const folder = mkdtempSync(path.join(os.tmpdir(), "read-run-"));
afterAll(() => rmSync(folder, { recursive: true }));

test.each([
  ["bench.json", '{"kind": "be', /bench\.json is no JSON: /],
  [
    "bench.json",
    '{"kind": "bench", "url": 5}',
    /read as a record of millrace bench, and its field origin is wrong/,
  ],
  [
    "bench.json",
    '{"kind": "bench", "origin": {"startedAt": "?"}}',
    /field origin\.startedAt is wrong: .* ISO datetime/,
  ],
  ["comparison.json", "{}", /read as the record of a flow, and its field kind is wrong/],
  [
    "a.json",
    '{"benchmarks": [{"config": {}}]}',
    /GuideLLM's report, .* field benchmarks\.0\.config\.strategy is/,
  ],
  ["b.json", '{"num_prompts": 3, "model_id": 1}', /vllm bench serve, and its field model_id is wrong/],
])("%s with %s is told with what is wrong, in a folder and by itself", (name, text, message) => {
  const file = path.join(folder, name);
  writeFileSync(file, text);
  for (const place of [file, folder])
    expect(() => readRun(place)).toThrow(
      expect.objectContaining({ code: "invalid_data_file", message: expect.stringMatching(message) }),
    );
  rmSync(file);
});

test("a place without anything like a run is said to hold none", () => {
  writeFileSync(path.join(folder, "package.json"), '{"name": "x"}');
  expect(() => readRun(folder)).toThrow(/holds no run/);
  const file = path.join(folder, "any.json");
  writeFileSync(file, '{"benchm');
  expect(() => readRun(folder)).toThrow(/holds no run/);
  expect(() => readRun(file)).toThrow(/any\.json is no JSON: /);
});
