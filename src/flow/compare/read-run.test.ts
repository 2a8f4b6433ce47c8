import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import { madeUpRequest, stageOf } from "../../../tests/load-stage.ts";
import { repositoryPath } from "../../../tests/test-data.ts";
import { writeDialects } from "../../bench/dialects/load-exports.ts";
import type { BenchRecord } from "../../records/bench.ts";
import type { ServingRecord } from "../../records/comparison.ts";
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

test.each([
  [
    "slo-search",
    /slo-search\.json is the search of --slo, which is not compared\. Run the load that it found/,
  ],
  ["versus", /versus\.json is the comparison of --versus, which is not compared\. .* Load each server/],
])("a record of kind %s is said to be none to compare, in its folder and by itself", (kind, message) => {
  const file = path.join(folder, `${kind}.json`);
  writeFileSync(file, JSON.stringify({ kind }));
  for (const place of [folder, file])
    expect(() => readRun(place)).toThrow(
      expect.objectContaining({ code: "invalid_data_file", message: expect.stringMatching(message) }),
    );
  rmSync(file);
});

const requests = [0, 1, 2].map((index) =>
  madeUpRequest({
    index,
    sentMs: 4 * index,
    chunkMs: [4 * index + 2, 4 * index + 3],
    promptTokens: 4,
    outputTokens: 2,
  }),
);
const stage = stageOf(requests, { durationMs: 20, concurrency: 1 });
const bench: BenchRecord = {
  kind: "bench",
  origin: {
    startedAt: "2026-01-01T00:00:30.000Z",
    durationMs: 4000,
    processor: "p",
    kernels: null,
    node: "v22.0.0",
    version: "0.1.0",
    build: "b",
  },
  url: "http://127.0.0.1:1",
  model: "m",
  workload: {
    inputTokens: 4,
    outputTokens: 2,
    promptForm: "token-ids",
    numWords: null,
    seed: 1,
    numWarmup: 0,
    description: "random token ids",
    caches: "cold",
  },
  pricePerHour: null,
  stages: [stage],
  rates: [],
};

/** A folder with what a load test of ours writes in the words of other tools, and with these files beside it. */
function ownFolder(name: string, files: Readonly<Record<string, unknown>> = {}): string {
  const own = path.join(folder, name);
  mkdirSync(own);
  writeDialects(bench, [{ stage, requests }], own);
  for (const [file, content] of Object.entries(files))
    writeFileSync(path.join(own, file), typeof content === "string" ? content : JSON.stringify(content));
  return own;
}

function toolOf(place: string): string | null {
  return readRun(place).subjects[0]!.variant.engine;
}

test.each([
  ["bench.json", JSON.stringify(bench).slice(0, -40)],
  ["serving.json", '{"kind": "serving", "fing'],
])(
  "a damaged %s is told, and what lies beside it in the words of vLLM is not read in its place",
  (name, text) => {
    const own = ownFolder(`damaged ${name}`, { [name]: text });
    expect(() => readRun(own)).toThrow(
      expect.objectContaining({
        code: "invalid_data_file",
        message: expect.stringContaining(`${name} is no JSON`),
      }),
    );
  },
);

test("the folder of one server of a flow is read by its own record", () => {
  const serving: ServingRecord = {
    kind: "serving",
    fingerprint: "f",
    folder: "/gone",
    round: 1,
    server: "millrace 0.1.0",
    flags: "--dtype auto",
    readyMs: 1,
    readyMemoryBytes: null,
    peakMemoryBytes: null,
    memoryPlan: null,
    kvCacheTokens: null,
    bench,
  };
  const { subjects } = readRun(ownFolder("serving", { "serving.json": serving }));
  expect(subjects[0]!.variant).toMatchObject({
    name: "serving",
    engine: "Millrace 0.1.0, build b",
    settings: { engine: "millrace 0.1.0", flags: "--dtype auto" },
  });
});

test("what we wrote in the words of another tool is not called that tool's measurement", () => {
  const own = ownFolder("exports");
  const forms = ["vllm bench serve", "GuideLLM"];
  for (const [index, place] of [own, path.join(own, "guidellm.json")].entries()) {
    expect(toolOf(place)).toBe(`millrace 0.1.0, in the form of ${forms[index]}`);
    expect(readRun(place).notes.join()).toMatch(/was measured by millrace 0\.1\.0 and is read from/);
  }
});

const recorded = (name: string): string => repositoryPath("tests/golden/recorded/load-dialects", name);

test("GuideLLM's folder is read by the name that it gives its report, and one with two tools' runs is refused", () => {
  const own = path.join(folder, "guidellm");
  mkdirSync(own);
  copyFileSync(recorded("guidellm.json"), path.join(own, "benchmarks.json"));
  expect(toolOf(own)).toBe("GuideLLM 0.8.1");
  copyFileSync(recorded("vllm-serve.json"), path.join(own, "vllm.json"));
  expect(() => readRun(own)).toThrow(/benchmarks\.json and 1 result of vllm bench serve, which are two runs/);
  writeFileSync(path.join(own, "benchmarks.json"), "{");
  expect(() => readRun(own)).toThrow(/benchmarks\.json is no JSON/);
});

test.each([
  [
    "vllm-serve.json",
    /"output_throughput": [\d.]+/,
    '"output_throughput": -5',
    /expected number to be >=0; it is -5/,
  ],
  ["vllm-serve.json", /"completed": \d+/, '"completed": -3', /field completed is wrong: .*>=0; it is -3/],
  [
    "vllm-serve.json",
    /"num_prompts": \d+/,
    '"num_prompts": 12.5',
    /num_prompts is wrong: .*int.*; it is 12.5/,
  ],
  [
    "vllm-serve.json",
    /"request_rate": "inf"/,
    '"request_rate": "fast"',
    /a number above 0, or inf; it is 'fast'/,
  ],
  [
    "vllm-serve.json",
    /"mean_ttft_ms": [\d.]+/,
    '"mean_ttft_ms": -1',
    /mean_ttft_ms is wrong: .*at least 0; it is -1/,
  ],
  [
    "guidellm.json",
    /"type_": "concurrent"/,
    '"type_": "warp"',
    /"synchronous"\|"concurrent"\|.*; it is 'warp'/,
  ],
  [
    "guidellm.json",
    /"request_totals": \{\s*"successful": 12,/,
    '"request_totals": {"successful": 12.5,',
    /request_totals\.successful is wrong: .*int/,
  ],
])("%s with another value for %s is refused with what is right", (name, field, value, message) => {
  const file = path.join(folder, "changed.json");
  const text = readFileSync(recorded(name), "utf8");
  expect(text).toMatch(field);
  writeFileSync(file, text.replace(field, value));
  expect(() => readRun(file)).toThrow(message);
});

test.each([
  [{ outputTokensPerSecond: -5 }, /stages\.0\.outputTokensPerSecond is wrong: .*>=0; it is -5/],
  [{ numRequests: -3 }, /stages\.0\.numRequests is wrong: .*>=0; it is -3/],
  [{ durationMs: 0 }, /stages\.0\.durationMs is wrong: .*>0; it is 0/],
])("our own record with %o is refused with what is right", (change, message) => {
  const file = path.join(folder, "own.json");
  writeFileSync(file, JSON.stringify({ ...bench, stages: [{ ...stage, ...change }] }));
  expect(() => readRun(file)).toThrow(message);
});

test("what vLLM's speculation brought is a result, not a setting", () => {
  const file = path.join(folder, "speculation.json");
  const result = JSON.parse(readFileSync(recorded("vllm-serve.json"), "utf8")) as object;
  writeFileSync(
    file,
    JSON.stringify({ ...result, spec_decode_acceptance_rate: 61.5, spec_decode_num_drafts: 9 }),
  );
  const { settings } = readRun(file).subjects[0]!.variant;
  expect(Object.keys(settings).filter((name) => name.startsWith("spec"))).toEqual([]);
});

test("a damaged file among results of vLLM is told, not left out", () => {
  const own = path.join(folder, "vllm");
  mkdirSync(own);
  copyFileSync(recorded("vllm-serve.json"), path.join(own, "c3.json"));
  expect(toolOf(own)).toBe("vllm bench serve");
  writeFileSync(path.join(own, "c4.json"), '{"date": "2026');
  expect(() => readRun(own)).toThrow(/c4\.json is no JSON/);
});
