import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, expect, test } from "vitest";
import { endProcesses, makeFolder, pebble, removeFolders, runCli, startCli } from "./run-cli.ts";

afterAll(() => {
  endProcesses();
  removeFolders();
});

const numKills = 20;
const prose =
  "The red fox lives in the old mill. The owl has three coins, and the miller counts them. ".repeat(40);

test.each([
  ["data-free", ["--scheme", "w4a16", "--method", "mse"], "model.safetensors"],
  ["calibrated", ["--scheme", "w4a16", "--method", "gptq"], "model.safetensors"],
  ["calibrated, to GGUF", ["--scheme", "q4_0", "--method", "gptq"], "model.gguf"],
])(
  "a %s run that is killed at random points gives the bytes of one that is not",
  {
    timeout: 240_000,
  },
  async (name, scheme, file) => {
    const folder = makeFolder();
    const text = path.join(folder, "text.txt");
    writeFileSync(text, prose);
    const calibration = name === "data-free" ? [] : ["--calibration", text, "--calibration-size", "8x64"];
    const argsOf = (out: string): string[] => [
      "quantize",
      pebble,
      ...scheme,
      ...calibration,
      "--out",
      path.join(folder, out),
    ];
    const started = performance.now();
    const whole = await runCli(...argsOf("whole"));
    expect(whole.exitCode, whole.stderr).toBe(0);
    const wholeMs = performance.now() - started;
    const weights = (out: string): Buffer => readFileSync(path.join(folder, out, file));
    const finish = async (): Promise<void> => {
      if (!existsSync(path.join(folder, "killed"))) {
        const run = await runCli(...argsOf("killed"));
        expect(run.exitCode, run.stderr).toBe(0);
      }
      expect(weights("killed").equals(weights("whole"))).toBe(true);
      rmSync(path.join(folder, "killed"), { recursive: true });
    };
    let state = 12345;
    for (let turn = 0; turn < numKills; turn += 1) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      const run = startCli(...argsOf("killed"));
      // Nothing is written before the program has started, which takes most of the time of so small a model.
      await Promise.race([wait(wholeMs * (0.3 + (0.7 * state) / 2 ** 32)), run.end]);
      run.kill();
      await run.end;
      // Some of the points are in a run that goes on, the others in one that begins.
      if (turn % 3 === 2 || existsSync(path.join(folder, "killed"))) await finish();
    }
    await finish();
  },
);
