import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { StepCostsFile } from "../../src/cli/step-costs-file.ts";
import { describeWithData, testData } from "../test-data.ts";
import { expectRefusal } from "./expect-refusal.ts";
import {
  type CliRun,
  endProcesses,
  makeFolder,
  pebble,
  removeFolders,
  runCli,
  startServe,
  untilReady,
} from "./run-cli.ts";

/** A step takes 1 ms, a token of it 0.1 ms, a sequence that draws 0.4 ms more. */
const costs: StepCostsFile = {
  kind: "step-costs",
  version: 1,
  model: "fixed",
  measured: "by hand",
  maxModelLen: 2048,
  blockSize: 32,
  blockBytes: 65_536,
  numKvBlocks: 512,
  costs: {
    fixedMs: 1,
    tokens: [{ above: 0, perUnitMs: 0.1 }],
    perSequenceMs: 0.4,
    context: [{ above: 0, perUnitMs: 0 }],
    perPrefillPairMs: 0,
    requestMs: 0,
  },
  meanError: 0,
  maxError: 0,
  steps: [],
};

/** Two requests that come together, and one that finds both ended. */
const trace = [
  "TIMESTAMP,ContextTokens,GeneratedTokens",
  "2024-05-10 00:00:00.000,11,3",
  "2024-05-10 00:00:00.000,11,3",
  "2024-05-10 00:00:01.000,11,3",
  "2024-05-10 00:00:01.000,0,3",
  "2024-05-10 00:00:01.000,2040,9",
].join("\n");

let folder: string;

beforeAll(() => {
  folder = makeFolder();
  write("costs.json", JSON.stringify(costs));
  write("trace.csv", trace);
});

afterAll(() => {
  endProcesses();
  removeFolders();
});

function inFolder(name: string): string {
  return path.join(folder, name);
}

function write(name: string, text: string): void {
  writeFileSync(inFolder(name), text);
}

/** The command on the small trace and the fixed costs. */
function simulate(...flags: string[]): Promise<CliRun> {
  return runCli("simulate", inFolder("trace.csv"), "--costs", inFolder("costs.json"), ...flags);
}

interface Summary {
  readonly count: number;
  readonly p50: number;
  readonly max: number;
}

interface SimulationJson {
  readonly kind: string;
  readonly version: number;
  readonly costs: StepCostsFile;
  readonly trace: { numRequests: number; numTooLong: number; numEmpty: number };
  readonly configurations: {
    name: string;
    settings: Record<string, unknown>;
    result: {
      numFinished: number;
      numSteps: number;
      numGood: number;
      durationMs: number;
      numOutputTokens: number;
      totals: { numPreemptions: number };
      ttftMs: Summary;
      itlMs: Summary;
    };
  }[];
}

/** The cells of a table by the name of their row. */
function rowsOf(table: string): Map<string, string[]> {
  return new Map(
    table
      .trimEnd()
      .split("\n")
      .map((line) => {
        const [label = "", ...cells] = line.split(/ {2,}/);
        return [label, cells];
      }),
  );
}

describe("millrace simulate", () => {
  test("puts the four ways of serving side by side and says what it left out", async () => {
    const run = await simulate();
    expect(run.exitCode, run.stderr).toBe(0);
    expect(run.stdout).toContain(
      "3 requests over 1.0 s; left out: 1 too long for the smallest configuration, 1 without prompt or output.",
    );
    expect(run.stdout).toContain("Costs of fixed: by hand.");
    expect(run.stderr).toMatch(/^\nSimulated in /);
    const rows = rowsOf(run.stdout);
    expect(rows.get("")).toEqual(["continuous", "contiguous", "dynamic", "static"]);
    expect(rows.get("finished")).toEqual(["3", "3", "3", "3"]);
    // 1 ms + 22 tokens · 0.1 + 2 draws · 0.4. Dynamic waits 100 ms for more; static until no more come, and runs all three.
    expect(rows.get("TTFT p50 ms")).toEqual(["4.00", "4.00", "104", "1,006"]);
    expect(rows.get("ITL p50 ms")!.slice(0, 2)).toEqual(["2.00", "2.00"]);
    expect(rows.get("preemptions")).toEqual(["0", "0", "0", "0"]);
  });

  test("prints the same as JSON, with the settings of each configuration", async () => {
    const configs = [
      "--config",
      "usual=",
      "--config",
      "small steps=--max-num-batched-tokens 8 --max-num-seqs 4",
    ];
    const run = await simulate("--json", ...configs, "--goodput", "ttft:5", "--num-kv-blocks", "64");
    expect(run.exitCode, run.stderr).toBe(0);
    const record = JSON.parse(run.stdout) as SimulationJson;
    expect(record).toMatchObject({
      kind: "simulation",
      version: 1,
      costs: { model: "fixed", costs: costs.costs },
      trace: { numRequests: 3, numTooLong: 1, numEmpty: 1 },
    });
    const [usual, small] = record.configurations;
    expect(usual).toMatchObject({
      name: "usual",
      settings: { serving: "continuous", maxNumSeqs: 128, numKvBlocks: 64 },
      result: { numFinished: 3, numOutputTokens: 9, numSteps: 6, numGood: 3 },
    });
    expect(usual!.result.ttftMs).toMatchObject({ count: 3, max: expect.closeTo(4, 9) as number });
    expect(usual!.result.itlMs.count).toBe(6);
    // 22 prompt tokens take three steps of eight: the second request starts in the second and draws in the third.
    expect(small).toMatchObject({
      name: "small steps",
      settings: { maxNumBatchedTokens: 8, numKvBlocks: 64 },
    });
    expect(small!.result.ttftMs.max).toBeGreaterThan(4);
    expect(small!.result.numGood).toBeLessThan(3);
  });
});

describeWithData("millrace simulate on the Azure traces", () => {
  const azure = testData("data", "request-traces", "AzureLLMInferenceTrace_conv.csv");
  const slice = (...flags: string[]): Promise<CliRun> =>
    runCli("simulate", azure, "--costs", inFolder("costs.json"), "--duration", "120", ...flags);

  test("shows what each idea is worth under load", async () => {
    const run = await slice("--json", "--speed", "4");
    expect(run.exitCode, run.stderr).toBe(0);
    const { configurations, trace: counts } = JSON.parse(run.stdout) as SimulationJson;
    expect(counts).toEqual({ numRequests: 426, numTooLong: 30, numEmpty: 0 });
    const results = configurations.map(({ result }) => result);
    for (const { numFinished } of results) expect(numFinished).toBe(426);
    const [continuous, contiguous, dynamic, fixed] = results.map(({ ttftMs }) => ttftMs.p50);
    expect(continuous).toBeLessThan(contiguous!);
    expect(contiguous).toBeLessThan(dynamic!);
    expect(dynamic).toBeLessThanOrEqual(fixed!);
  });

  test("gives equal bytes for equal inputs", async () => {
    const flags = ["--json", "--num-kv-blocks", "128", "--swap-space", "1MiB", "--speed", "4"];
    const [first, second] = await Promise.all([slice(...flags), slice(...flags)]);
    expect(first.exitCode, first.stderr).toBe(0);
    expect(second.stdout).toBe(first.stdout);
    const { configurations } = JSON.parse(first.stdout) as SimulationJson;
    expect(configurations[0]!.result.totals.numPreemptions).toBeGreaterThan(0);
  });
});

describe("step costs of a server", () => {
  test("are found in the records of a load test, and a trace is simulated with them", async () => {
    const server = await startServe(pebble, "--port", "0", "--max-model-len", "256");
    const load = inFolder("load");
    try {
      await untilReady(server.url);
      const flags = [
        "--concurrency",
        "1,4",
        "--input-tokens",
        "32",
        "--output-tokens",
        "32",
        "--min-seconds",
        "0",
      ];
      const bench = await runCli("bench", server.url, ...flags, "--out", load);
      expect(bench.exitCode, bench.stderr).toBe(0);
    } finally {
      await server.stop();
    }
    const out = inFolder("server-costs.json");
    const sizes = ["--max-model-len", "256", "--num-kv-blocks", "64"];
    const run = await runCli("simulate", "--calibrate-from", load, ...sizes, "--out", out);
    expect(run.exitCode, run.stderr).toBe(0);
    expect(run.stdout).toContain(`as seen by the clients of ${server.url}`);
    expect(run.stderr).toContain("One prompt length");
    const found = JSON.parse(readFileSync(out, "utf8")) as StepCostsFile;
    expect(found).toMatchObject({ model: "pebble", maxModelLen: 256, numKvBlocks: 64, blockBytes: null });
    const draws = found.steps.filter(({ shape }) => shape.numPrefillTokens === 0);
    expect(new Set(draws.map(({ shape }) => shape.numSequences))).toEqual(
      expect.objectContaining(new Set([1, 4])),
    );
    expect(found.steps).toContainEqual(
      expect.objectContaining({
        isRequest: true,
        shape: expect.objectContaining({ numPrefillTokens: 31 }) as object,
      }),
    );
    const simulated = await runCli("simulate", inFolder("trace.csv"), "--costs", out);
    expect(simulated.exitCode, simulated.stderr).toBe(0);
    expect(rowsOf(simulated.stdout).get("finished")).toEqual(["3", "3", "3", "3"]);
  });
});

describe("what cannot be simulated is refused", () => {
  const withCosts = (name: string, change: object): string => {
    write(name, JSON.stringify({ ...costs, ...change }));
    return inFolder(name);
  };

  test("traces", async () => {
    write("words.csv", "one,two\n1,2\n");
    write("bad-line.csv", `${trace}\n2024-05-10 00:00:02.000,many,3\n`);
    write("empty.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\n");
    write("long.csv", `${trace.split("\n")[0]}\n2024-05-10 00:00:00.000,4000,3\n`);
    const refuse = (
      file: string,
      code: "invalid_data_file" | "file_not_found",
      ...says: string[]
    ): Promise<void> =>
      expectRefusal(folder, {
        args: ["simulate", inFolder(file), "--costs", inFolder("costs.json")],
        code,
        exitCode: 3,
        says,
      });
    await refuse("none.csv", "file_not_found", "none.csv");
    await refuse("words.csv", "invalid_data_file", "one,two", "TIMESTAMP, ContextTokens and GeneratedTokens");
    await refuse("bad-line.csv", "invalid_data_file", "line 7", 'ContextTokens is "many"', "whole number");
    await refuse("empty.csv", "invalid_data_file", "holds no request");
    await refuse("long.csv", "invalid_data_file", "1 are too long", "--max-model-len");
  });

  test("configurations", async () => {
    const refuse = (flags: readonly string[], ...says: string[]): Promise<void> =>
      expectRefusal(folder, {
        args: ["simulate", inFolder("trace.csv"), "--costs", inFolder("costs.json"), ...flags],
        code: "invalid_option",
        exitCode: 2,
        says,
      });
    await refuse(["--config", "--max-num-seqs 4"], 'a name, "=" and flags');
    await refuse(["--config", "a=--max-num-seq 4"], "--config a", "unknown option '--max-num-seq'");
    await refuse(["--config", "a=--max-num-seqs 64 --max-num-batched-tokens 32"], '"a" is 32', "raise");
    await refuse(["--max-model-len", "4k"], "4,096", "at most 2,048");
    await refuse(["--goodput", "ttft"], "ttft:1000,tpot:100");
    await refuse(["--speed", "0"], "--speed", "from 0.001 to 1000");
  });

  test("step costs", async () => {
    write("text.json", "costs");
    const pieces = [
      { above: 4, perUnitMs: 0.1 },
      { above: 0, perUnitMs: 0.1 },
    ];
    const free = { ...costs.costs, fixedMs: 0, perSequenceMs: 0, tokens: [{ above: 0, perUnitMs: 0 }] };
    const refuse = (
      file: string,
      code: "invalid_data_file" | "file_not_found",
      ...says: string[]
    ): Promise<void> =>
      expectRefusal(folder, {
        args: ["simulate", inFolder("trace.csv"), "--costs", file],
        code,
        exitCode: 3,
        says: [...says, "--calibrate MODEL"],
      });
    await refuse(inFolder("none.json"), "file_not_found", "none.json");
    await refuse(inFolder("text.json"), "invalid_data_file", "no step costs of this version");
    await refuse(withCosts("v9.json", { version: 9 }), "invalid_data_file", "version");
    await refuse(
      withCosts("pieces.json", { costs: { ...costs.costs, tokens: pieces } }),
      "invalid_data_file",
      "above",
    );
    await refuse(withCosts("free.json", { costs: free }), "invalid_data_file", "costs nothing");
  });

  test("sources of step costs that are missing, two, or do not say enough", async () => {
    const refuse = (args: readonly string[], ...says: string[]): Promise<void> =>
      expectRefusal(folder, { args: ["simulate", ...args], code: "invalid_option", exitCode: 2, says });
    const file = inFolder("costs.json");
    await refuse(
      [inFolder("trace.csv")],
      "--costs FILE, --calibrate MODEL or --calibrate-from FOLDER",
      "None",
    );
    await refuse(
      [inFolder("trace.csv"), "--costs", file, "--calibrate", pebble],
      "--costs and --calibrate. Give one",
    );
    await refuse(["--costs", file], "no trace");
    await refuse([inFolder("trace.csv"), "--costs", file, "--out", inFolder("x.json")], "--out");
    await refuse(
      ["--calibrate-from", folder, "--max-model-len", "256"],
      "without --num-kv-blocks",
      "/metrics",
    );
    await refuse(
      ["--calibrate-from", folder, "--num-kv-blocks", "9"],
      "without --max-model-len",
      "/v1/models",
    );
    const sizes = ["--max-model-len", "256", "--num-kv-blocks", "64"];
    await expectRefusal(folder, {
      args: ["simulate", "--calibrate-from", folder, ...sizes],
      code: "file_not_found",
      exitCode: 3,
      says: ["bench.json"],
    });
  });
});
