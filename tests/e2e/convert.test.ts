import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import type { ErrorCode } from "../../src/base/error-catalogue.ts";
import { expectRefusal } from "./expect-refusal.ts";
import { endProcesses, makeFolder, pebble, removeFolders, runCli } from "./run-cli.ts";

afterAll(() => {
  endProcesses();
  removeFolders();
});

/** Greedy token ids of a model. */
async function tokensOf(model: string): Promise<unknown> {
  const run = await runCli(
    "complete",
    model,
    "--prompt",
    "Mia has a red",
    "--max-tokens",
    "8",
    "--temperature",
    "0",
    "--json",
  );
  expect(run.exitCode, run.stderr).toBe(0);
  return (JSON.parse(run.stdout) as { choices: { token_ids: number[] }[] }).choices[0]!.token_ids;
}

describe("millrace convert", () => {
  test("goes to GGUF and back, and each model answers the same", async () => {
    const folder = makeFolder();
    const gguf = path.join(folder, "pebble.gguf");
    const first = await runCli("convert", pebble, "--out", gguf, "--json");
    expect(JSON.parse(first.stdout)).toMatchObject({
      outPath: gguf,
      format: "gguf",
      weightFormat: "GGUF BF16",
      notes: [],
    });
    const back = path.join(folder, "back");
    const second = await runCli("convert", gguf, "--out", back);
    expect(second.stdout).toContain("weights  GGUF BF16 → bf16");
    expect(
      readFileSync(path.join(back, "model.safetensors")).equals(
        readFileSync(path.join(pebble, "model.safetensors")),
      ),
    ).toBe(true);
    const expected = await tokensOf(pebble);
    expect(await tokensOf(gguf)).toEqual(expected);
    expect(await tokensOf(back)).toEqual(expected);
  });

  test("makes a dummy from a configuration alone", async () => {
    const folder = makeFolder();
    const config = path.join(folder, "config.json");
    writeFileSync(config, readFileSync(path.join(pebble, "config.json")));
    const out = path.join(folder, "dummy.gguf");
    const run = await runCli(
      "convert",
      config,
      "--load-format",
      "dummy",
      "--out",
      out,
      "--dtype",
      "q4_0",
      "--tokenizer",
      pebble,
    );
    expect(run.exitCode, run.stderr).toBe(0);
    expect(run.stdout).toContain("weights  dummy bf16 → GGUF Q4_0");
    expect(await tokensOf(out)).toHaveLength(8);
  });

  test("refuses what it cannot do, and leaves nothing", async () => {
    const folder = makeFolder();
    const taken = path.join(folder, "taken.gguf");
    writeFileSync(taken, "mine");
    const refused = (args: readonly string[], code: ErrorCode, exitCode: number, ...says: string[]) =>
      expectRefusal(folder, { args: ["convert", pebble, ...args], code, exitCode, says });
    await refused(
      ["--out", taken],
      "output_exists",
      2,
      "taken.gguf is there already",
      "choose another --out",
    );
    expect(readFileSync(taken, "utf8")).toBe("mine");
    const rounded = path.join(folder, "rounded");
    await refused(
      ["--out", rounded, "--dtype", "q4_0"],
      "invalid_option",
      2,
      "only GGUF files hold",
      "quantize",
    );
    const dummy = path.join(folder, "x.gguf");
    await refused(["--out", dummy, "--load-format", "dummy"], "file_not_found", 3, "not a regular file");
    await refused([], "invalid_option", 2, "--out");
  });
});
