import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readSafetensorsHeader } from "../../src/formats/safetensors.ts";
import { loadTokenizerSource } from "../../src/formats/tokenizer-source.ts";
import { createTokenizer } from "../../src/tokenizer/create-tokenizer.ts";
import { readFloatTensors, readJson, relativeError } from "../golden/golden-files.ts";
import { describeWithData, testData } from "../test-data.ts";
import { type CliRun, endProcesses, makeFolder, pebble, removeFolders, runCli } from "./run-cli.ts";

let usual: Completion;

beforeAll(async () => {
  usual = await complete(pebble);
});

afterAll(() => {
  endProcesses();
  removeFolders();
});

const prompt = "Mia has a red";

interface Completion {
  readonly object: string;
  readonly model: string;
  readonly choices: readonly {
    readonly text: string;
    readonly finish_reason: string;
    readonly token_ids: number[];
  }[];
  readonly usage: {
    readonly prompt_tokens: number;
    readonly completion_tokens: number;
    readonly total_tokens: number;
  };
}

/** Greedy tokens of a model; 8 at most. */
async function complete(model: string, ...more: string[]): Promise<Completion> {
  const flags = ["--prompt", prompt, "--max-tokens", "8", "--temperature", "0", "--json"];
  const run = await runCli("complete", model, ...flags, ...more);
  expect(run).toMatchObject({ exitCode: 0, stderr: "" });
  return JSON.parse(run.stdout) as Completion;
}

/** Runs `logits` on token ids; the path of what it wrote. */
async function writeLogits(model: string, tokenIds: readonly number[], ...more: string[]): Promise<string> {
  const folder = makeFolder();
  const tokens = path.join(folder, "ids.json");
  const out = path.join(folder, "logits.safetensors");
  writeFileSync(tokens, JSON.stringify(tokenIds));
  const run = await runCli("logits", model, "--tokens", tokens, "--out", out, ...more);
  expect(run, run.stderr).toMatchObject({
    exitCode: 0,
    stdout: expect.stringMatching(
      new RegExp(`^${out}  logits, F32, ${tokenIds.length} tokens × \\d+ of the vocabulary, .*B\n$`),
    ) as string,
  });
  return out;
}

function expectLogits(file: string, numTokens: number, vocabSize: number): void {
  const { entries } = readSafetensorsHeader(file);
  expect([...entries.keys()]).toEqual(["logits"]);
  expect(entries.get("logits")).toMatchObject({ dtype: "F32", shape: [numTokens, vocabSize] });
}

describe("millrace complete", () => {
  test("prints one completion object with the tokens, the same each time", async () => {
    expect(usual).toMatchObject({ object: "text_completion", model: "pebble" });
    const { text, token_ids, finish_reason } = usual.choices[0]!;
    expect(token_ids.length).toBeGreaterThan(0);
    expect(token_ids.length).toBeLessThanOrEqual(8);
    expect(text).not.toBe("");
    expect(["length", "stop"]).toContain(finish_reason);
    const { usage } = usual;
    expect(usage.completion_tokens).toBe(token_ids.length);
    expect(usage.total_tokens).toBe(usage.prompt_tokens + usage.completion_tokens);
    expect((await complete(pebble)).choices).toEqual(usual.choices);
  });

  test("chooses the same first tokens on the reference backend", async () => {
    const reference = await complete(pebble, "--backend", "reference");
    expect(reference.choices[0]!.token_ids.slice(0, 4)).toEqual(usual.choices[0]!.token_ids.slice(0, 4));
  });

  test("streams plain text to stdout and notes to stderr", async () => {
    const run = await runCli(
      "complete",
      pebble,
      "--prompt",
      prompt,
      "--max-tokens",
      "8",
      "--temperature",
      "0",
    );
    expect(run).toMatchObject({ exitCode: 0, stdout: `${usual.choices[0]!.text}\n` });
    expect(run.stderr).toContain("Kernels:");
  });
});

describe("millrace logits", () => {
  test("writes one tensor whose last row names the token that complete chooses", async () => {
    const { vocab_size: vocabSize } = readJson<{ vocab_size: number }>(path.join(pebble, "config.json"));
    const tokenizer = createTokenizer(loadTokenizerSource(pebble));
    const tokenIds = [...tokenizer.encode(prompt)];
    const file = await writeLogits(pebble, tokenIds);
    expectLogits(file, tokenIds.length, vocabSize);
    const last = readFloatTensors(file).get("logits")!.subarray(-vocabSize);
    const best = last.indexOf(last.reduce((most, logit) => Math.max(most, logit)));
    expect(best).toBe(usual.choices[0]!.token_ids[0]);
  });

  test("takes the place of no file", async () => {
    const file = await writeLogits(pebble, [1, 2]);
    const before = readFileSync(file);
    const tokens = path.join(path.dirname(file), "ids.json");
    const run = await runCli("logits", pebble, "--tokens", tokens, "--out", file);
    expect(run.exitCode).toBe(2);
    expect(run.stderr).toMatch(/is already there.*\[output_exists\]/);
    expect(readFileSync(file)).toEqual(before);
  });
});

describeWithData("millrace logits on a model without a tokenizer", () => {
  test("writes the logits that transformers computes", async () => {
    const folder = testData("models", "tiny", "llama");
    const { prompts } = readJson<{ prompts: { prompt: number[] }[] }>(path.join(folder, "golden.json"));
    const { vocab_size: vocabSize } = readJson<{ vocab_size: number }>(path.join(folder, "config.json"));
    const tokenIds = prompts[0]!.prompt;
    const file = await writeLogits(folder, tokenIds, "--dtype", "float32", "--activations", "f32");
    expectLogits(file, tokenIds.length, vocabSize);
    const expected = readFloatTensors(path.join(folder, "golden.safetensors")).get("prompt0.logits")!;
    expect(relativeError(readFloatTensors(file).get("logits")!, expected)).toBeLessThan(1e-4);
  });
});

describe("millrace inspect", () => {
  test("describes a model as JSON", async () => {
    const run = await runCli("inspect", pebble, "--json");
    expect(run).toMatchObject({ exitCode: 0, stderr: "" });
    const report = JSON.parse(run.stdout) as { tensors: { name: string }[] };
    expect(report).toMatchObject({
      format: "safetensors",
      weightFormat: "bf16",
      hasTokenizer: true,
      hasChatTemplate: true,
      config: { architecture: "LlamaForCausalLM" },
    });
    const { entries } = readSafetensorsHeader(path.join(pebble, "model.safetensors"));
    expect(report.tensors.map((tensor) => tensor.name).sort()).toEqual([...entries.keys()].sort());
  });
});

describe("millrace doctor", () => {
  test("reports the machine as JSON and exits by whether the native kernels load", async () => {
    const run = await runCli("doctor", "--json");
    const report = JSON.parse(run.stdout) as {
      threads: number;
      native: { available: boolean; isas: string[] };
    };
    expect(report).toMatchObject({ node: process.version });
    expect(report.threads).toBeGreaterThan(0);
    expect(run.exitCode).toBe(report.native.available ? 0 : 3);
    expect(report.native.isas.length > 0).toBe(report.native.available);
  });
});

describe("millrace quantize", () => {
  test("writes a smaller model that complete runs, and does not write over it", async () => {
    const out = path.join(makeFolder(), "w4");
    const flags = ["--scheme", "w4a16", "--out", out];
    const run = await runCli("quantize", pebble, ...flags, "--json");
    expect(run.exitCode, run.stderr).toBe(0);
    expect(run.stderr).toContain("This takes at most");
    const manifest = JSON.parse(run.stdout) as { sizeBytes: number; source: { sizeBytes: number } };
    expect(manifest).toMatchObject({ scheme: "w4a16", weightBits: 4 });
    expect(manifest.sizeBytes).toBeLessThan(manifest.source.sizeBytes / 2);
    expect((await complete(out)).choices[0]!.token_ids.length).toBeGreaterThan(0);
    const again: CliRun = await runCli("quantize", pebble, ...flags);
    expect(again.exitCode).toBe(2);
    // The refusal alone: nothing is said of a run that does not begin.
    expect(again.stderr).toMatch(/^millrace: .*\[output_exists\]\n$/);
  });
});
