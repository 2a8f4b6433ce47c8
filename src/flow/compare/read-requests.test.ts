import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import { madeUpRequest, stageOf } from "../../../tests/load-stage.ts";
import type { BenchRecord, BenchStage } from "../../records/bench.ts";
import { areRequestsWhole, readRequests } from "./read-requests.ts";

const folder = mkdtempSync(path.join(os.tmpdir(), "read-requests-"));
afterAll(() => rmSync(folder, { recursive: true }));

const requests = [0, 1, 2].map((index) =>
  madeUpRequest({ index, sentMs: index, chunkMs: [9, 11], promptTokens: 4, outputTokens: 2 }),
);
const lines = requests.map((request) => JSON.stringify(request));
const file = path.join(folder, "requests_c1.jsonl");

function recordOf(stages: readonly BenchStage[]): BenchRecord {
  return { stages, rates: [] } as unknown as BenchRecord;
}

const stage = stageOf(requests, { durationMs: 20, concurrency: 1 });
const record = recordOf([stage]);

test("a whole file is read as it was written, and one that is gone is none", () => {
  rmSync(file, { force: true });
  expect(readRequests(folder, record, stage)).toBeNull();
  expect(areRequestsWhole(folder, record)).toBe(true);
  writeFileSync(file, `${lines.join("\n")}\n`);
  expect(readRequests(folder, record, stage)).toEqual(requests);
  expect(areRequestsWhole(folder, record)).toBe(true);
});

test.each([
  ["cut inside a line", lines.join("\n").slice(0, -9), /requests_c1\.jsonl, line 3, is no JSON: /],
  ["cut at a line's end", `${lines[0]}\n`, /requests_c1\.jsonl has 1 request, .* that the load had 3\./],
  ["empty", "", /has 0 requests, .* that the load had 3\./],
  [
    "with a word for a time",
    lines.join("\n").replace('"sentMs":1', '"sentMs":"soon"'),
    /line 2, is no record of a request: sentMs: .*number/,
  ],
])("a file that is %s is told with its name and line", (_, text, message) => {
  writeFileSync(file, text);
  expect(() => readRequests(folder, record, stage)).toThrow(
    expect.objectContaining({ code: "invalid_data_file", message: expect.stringMatching(message) }),
  );
  expect(areRequestsWhole(folder, record)).toBe(false);
});

test("of two stages of one name the file holds the requests of the last", () => {
  writeFileSync(file, lines.join("\n"));
  const shorter = stageOf(requests.slice(0, 2), { durationMs: 20, concurrency: 1 });
  const both = recordOf([shorter, stage]);
  expect(readRequests(folder, both, shorter)).toBeNull();
  expect(readRequests(folder, both, stage)).toHaveLength(3);
});
