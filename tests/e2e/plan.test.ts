import { afterAll, describe, expect, test } from "vitest";
import { defaultEngineOptions } from "../../src/engine/engine-options.ts";
import { loadEngine } from "../../src/engine/load-engine.ts";
import { nativeStatus } from "../../src/kernels/create-ops.ts";
import { expectRefusal } from "./expect-refusal.ts";
import { endProcesses, makeFolder, pebble, removeFolders, runCli } from "./run-cli.ts";

interface PlanRecord {
  readonly machine: { readonly isa: string; readonly numThreads: number } | null;
  readonly memory: {
    readonly weightBytes: number;
    readonly rotationBytes: number;
    readonly kvCacheBytes: number;
  };
  readonly kvNeeds: readonly {
    readonly concurrency: number;
    readonly sizeBytes: number;
    readonly fits: boolean;
  }[];
  readonly loads: readonly {
    readonly concurrency: number;
    readonly numRunning: number;
    readonly outputTokensPerSecond: number;
  }[];
  readonly precisions: readonly {
    readonly name: string;
    readonly weightBytes: number;
    readonly isNow: boolean;
    readonly command: string | null;
    readonly loads: readonly { readonly concurrency: number; readonly outputTokensPerSecond: number }[];
  }[];
  readonly linears: readonly { readonly name: string; readonly count: number; readonly weightForm: string }[];
  readonly advice: readonly string[];
}

const size = ["--max-model-len", "512", "--kv-cache-memory-bytes", "8MiB", "--max-num-seqs", "8"];

async function plan(...flags: string[]): Promise<PlanRecord> {
  const run = await runCli("plan", pebble, "--json", ...size, ...flags);
  expect(run.exitCode, run.stderr).toBe(0);
  return JSON.parse(run.stdout) as PlanRecord;
}

afterAll(() => {
  endProcesses();
  removeFolders();
});

describe.skipIf(!nativeStatus().available)("millrace plan", () => {
  test("counts the memory that the engine then takes, and what sequences need of it", async () => {
    const { memory, kvNeeds, advice } = await plan(
      "--context",
      "400",
      "--concurrency",
      "8,1,8",
      "--no-speed",
    );
    const engine = await loadEngine({
      ...defaultEngineOptions(pebble),
      maxModelLen: 512,
      kvCacheMemoryBytes: 8 * 1024 ** 2,
      maxNumSeqs: 8,
    });
    const { weights, kvCache } = engine.info.memory;
    await engine.close();
    expect(memory.weightBytes + memory.rotationBytes).toBe(weights);
    expect(Math.abs(memory.kvCacheBytes / kvCache - 1)).toBeLessThan(0.001);
    // 13 blocks of 32 tokens in f16: 4 layers of 2 heads of 64, K and V.
    const perSequence = 13 * 32 * 2 * 4 * 2 * 64 * 2;
    expect(kvNeeds.map(({ sizeBytes, fits }) => [sizeBytes, fits])).toEqual([
      [perSequence, true],
      [8 * perSequence, true],
    ]);
    const tight = await plan("--context", "500", "--concurrency", "8,64", "--no-speed");
    expect(tight.kvNeeds.map(({ fits }) => fits)).toEqual([true, false]);
    expect(tight.advice[0]).toMatch(
      /64 sequences of 500 tokens need 64\.0 MiB of KV cache: --kv-cache-memory-bytes 64MiB --max-model-len 500 --max-num-seqs 64\.$/,
    );
    expect(advice.join()).not.toMatch(/need .* of KV cache/);
  });

  test("foresees speeds and sizes by precision from steps that it runs", async () => {
    const { machine, loads, precisions, linears } = await plan();
    expect(machine!.numThreads).toBeGreaterThan(0);
    // --max-num-seqs is 8.
    expect(loads.map(({ concurrency, numRunning }) => [concurrency, numRunning])).toEqual([
      [1, 1],
      [8, 8],
      [32, 8],
    ]);
    for (const { outputTokensPerSecond } of loads) expect(outputTokensPerSecond).toBeGreaterThan(0);
    expect(precisions.map(({ name }) => name)).toEqual(["f32", "bf16", "w8a8", "q8_0", "q4_0"]);
    expect(precisions.map(({ loads: ends }) => ends.map(({ concurrency }) => concurrency))).toEqual(
      precisions.map(() => [1, 32]),
    );
    // The model is bf16: what only makes it larger has no command.
    expect(precisions.filter(({ isNow }) => isNow).map(({ name }) => name)).toEqual(["bf16"]);
    expect(precisions.at(-1)!.command).toMatch(/^millrace convert \S+ --dtype q4_0 --out \S+-q4_0\.gguf$/);
    const sizes = precisions.map(({ weightBytes }) => weightBytes);
    expect(sizes).toEqual(sizes.toSorted((a, b) => b - a));
    expect(linears.map(({ name, count, weightForm }) => `${count} ${name} ${weightForm}`)).toEqual([
      "1 embed_tokens bf16",
      "4 qkv_proj bf16",
      "4 o_proj bf16",
      "4 gate_up_proj bf16",
      "4 down_proj bf16",
    ]);
  });

  test("prints it for people, and refuses what does not fit after it has said what would", async () => {
    const run = await runCli("plan", pebble, "--concurrency", "2");
    expect(run.stdout).toMatch(/Memory plan: .*\n {2}weights +\S+ MiB/);
    expect(run.stdout).toMatch(/in flight +at once +tokens\/s, all .*\n.*\n +2 +all +\d/);
    expect(run.stdout).toMatch(/q4_0 by {2}millrace convert \S+ --dtype q4_0 --out /);
    const far = await runCli("plan", pebble, "--no-speed", "--kv-cache-memory-bytes", "900000GiB");
    expect(far).toMatchObject({ exitCode: 4 });
    expect(far.stderr).toMatch(/--kv-cache-memory-bytes asks for 879 TiB.*\[out_of_memory\]/);
    expect(far.stdout).toMatch(/Memory plan: it does not fit\. --kv-cache-memory-bytes asks for 879 TiB/);
    expect(far.stdout).toMatch(/w8a8 +\S+ MiB/);
    for (const [param, limit, ...flags] of [
      ["--context", "this model was made for at most", "--context", "5k"],
      [
        "--input-tokens 4000 and --output-tokens 64",
        "this model was made for at most",
        "--input-tokens",
        "4000",
      ],
      ["--input-tokens 128 and --output-tokens 64", "--max-model-len allows 160", "--max-model-len", "160"],
    ] as const) {
      await expectRefusal(makeFolder(), {
        args: ["plan", pebble, ...flags],
        code: "invalid_option",
        exitCode: 2,
        says: [param, limit, "Give fewer"],
      });
    }
    const { stdout: page } = await runCli("plan", "--help");
    expect(page).toContain("--max-num-batched-tokens");
    // What changes no figure here.
    expect(page).not.toMatch(/--(enable-prefix-caching|scheduling-policy|seed|attention-dtype)/);
    await expectRefusal(makeFolder(), {
      args: ["plan", "nowhere"],
      code: "file_not_found",
      exitCode: 3,
      says: ["nothing at nowhere"],
    });
  });
});
