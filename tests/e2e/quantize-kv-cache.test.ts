import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import { expectRefusal } from "./expect-refusal.ts";
import { makeFolder, pebble, removeFolders, runCli } from "./run-cli.ts";

afterAll(removeFolders);

test("a wish for an int8 KV cache stands in the file, and the engine follows it unless it is told otherwise", async () => {
  const folder = makeFolder();
  const out = path.join(folder, "out");
  const made = await runCli("quantize", pebble, "--scheme", "w8a8", "--kv-cache", "int8", "--out", out);
  expect(made.exitCode, made.stderr).toBe(0);
  const file = path.join(out, "config.json");
  const config = JSON.parse(readFileSync(file, "utf8")) as {
    quantization_config: { kv_cache_scheme: Record<string, unknown> | null };
  };
  expect(config.quantization_config.kv_cache_scheme).toMatchObject({
    num_bits: 8,
    type: "int",
    symmetric: true,
    dynamic: true,
    strategy: "token",
  });
  const kvCacheOf = async (...flags: string[]): Promise<string | undefined> => {
    const run = await runCli("plan", out, "--no-speed", ...flags);
    expect(run.exitCode, run.stderr).toBe(0);
    return /KV cache of a token in (\w+):/.exec(run.stdout)?.[1];
  };
  expect(await kvCacheOf()).toBe("int8");
  expect(await kvCacheOf("--kv-cache-dtype", "f16")).toBe("f16");
  config.quantization_config.kv_cache_scheme = null;
  writeFileSync(file, JSON.stringify(config));
  expect(await kvCacheOf()).toBe("f16");
});

test("a GGUF file has no place for it", async () => {
  const folder = makeFolder();
  await expectRefusal(folder, {
    args: ["quantize", pebble, "--scheme", "q8_0", "--kv-cache", "int8", "--out", path.join(folder, "out")],
    code: "invalid_scheme",
    exitCode: 2,
    says: ["--kv-cache"],
  });
});
