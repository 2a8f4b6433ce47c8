import { cpSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ErrorCode } from "../../src/base/error-catalogue.ts";
import { expectRefusal } from "./expect-refusal.ts";
import { endProcesses, makeFolder, pebble, removeFolders, runCli } from "./run-cli.ts";

let folder: string;
let out: string;

beforeAll(() => {
  folder = makeFolder();
  out = path.join(folder, "out");
  cpSync(pebble, inFolder("cut"), { recursive: true });
  truncateSync(inFolder("cut", "model.safetensors"), 100_000);
  const config = JSON.parse(readFileSync(path.join(pebble, "config.json"), "utf8")) as object;
  for (const [name, change] of Object.entries({
    // It has no heads at all, which only its architecture explains.
    mamba: { architectures: ["MambaForCausalLM"], num_attention_heads: undefined },
    gpt: { architectures: ["GptForCausalLM"] },
  })) {
    cpSync(pebble, inFolder(name), { recursive: true });
    writeFileSync(inFolder(name, "config.json"), JSON.stringify({ ...config, ...change }));
  }
  writeFileSync(inFolder("hostile.gguf"), hostileGguf());
  writeFileSync(inFolder("python.yaml"), "task: mine\nprocess_docs: !function utils.clean\n");
  writeFileSync(inFolder("words.json"), "one, two");
  writeFileSync(inFolder("ids.json"), "[1, 2, 4000000]");
  writeFileSync(inFolder("good.json"), "[1, 2, 3]");
  writeFileSync(inFolder("long.txt"), "word ".repeat(3000));
});

afterAll(() => {
  endProcesses();
  removeFolders();
});

function inFolder(...parts: string[]): string {
  return path.join(folder, ...parts);
}

/** A header that promises 2^40 tensors and as many metadata entries in a file of 124 bytes. */
function hostileGguf(): Buffer {
  const bytes = Buffer.alloc(124);
  bytes.write("GGUF");
  bytes.writeUInt32LE(3, 4);
  bytes.writeBigUInt64LE(2n ** 40n, 8);
  bytes.writeBigUInt64LE(2n ** 40n, 16);
  return bytes;
}

const completeFlags = ["--prompt", "x", "--max-tokens", "1"];

describe("a model that cannot be read", () => {
  test.each<[string, string[]]>([
    ["complete", completeFlags],
    ["serve", ["--port", "0"]],
    ["quantize", ["--out", "OUT"]],
    ["flow", ["--tasks", "none", "--out", "OUT"]],
  ])("%s names a path where nothing is", async (command, flags) => {
    await expectRefusal(folder, {
      args: [command, inFolder("nothing"), ...flags.map((flag) => (flag === "OUT" ? out : flag))],
      code: "file_not_found",
      exitCode: 3,
      says: [inFolder("nothing"), "A model is"],
    });
  });

  test.each<[string, string[]]>([
    ["complete", completeFlags],
    ["quantize", ["--out", "OUT"]],
    ["flow", ["--tasks", "none", "--out", "OUT"]],
  ])("%s refuses truncated weights with both sizes", async (command, flags) => {
    await expectRefusal(folder, {
      args: [command, inFolder("cut"), ...flags.map((flag) => (flag === "OUT" ? out : flag))],
      code: "invalid_model_file",
      exitCode: 3,
      says: ["model.safetensors", "100000 bytes", "Fetch the file again"],
    });
  });

  test.each(["inspect", "complete"])("%s refuses a hostile GGUF header", async (command) => {
    const flags = command === "complete" ? completeFlags : [];
    await expectRefusal(folder, {
      args: [command, inFolder("hostile.gguf"), ...flags],
      code: "invalid_model_file",
      exitCode: 3,
      says: ["hostile.gguf", String(2n ** 40n), "at most", "Fetch the file again"],
    });
  });

  test.each<[string, string[]]>([
    ["complete", completeFlags],
    ["serve", ["--port", "0"]],
    ["quantize", ["--out", "OUT"]],
    ["flow", ["--tasks", "none", "--out", "OUT"]],
    ["inspect", []],
  ])("%s refuses an unknown architecture by name before anything else", async (command, flags) => {
    await expectRefusal(folder, {
      args: [command, inFolder("mamba"), ...flags.map((flag) => (flag === "OUT" ? out : flag))],
      code: "unsupported_architecture",
      exitCode: 2,
      says: [inFolder("mamba"), "MambaForCausalLM", "known are LlamaForCausalLM", "Use a model"],
    });
  });

  test("inspect shows what it can of a model that cannot be run, and refuses it", async () => {
    const run = await runCli("inspect", inFolder("gpt"));
    expect(run.exitCode).toBe(2);
    expect(run.stdout).toMatch(/architecture +GptForCausalLM[^]*BF16/);
    expect(run.stderr).toMatch(
      /gpt\S* is a model .*GptForCausalLM.*cannot be run.*\[unsupported_architecture\]\n$/,
    );
    const json = await runCli("inspect", inFolder("gpt"), "--json");
    expect(JSON.parse(json.stdout)).toMatchObject({
      canRun: false,
      refusal: expect.stringContaining("GptForCausalLM") as string,
    });
  });
});

describe("input that does not fit", () => {
  test("a prompt file that is not there is named once", async () => {
    const file = inFolder("nothing.txt");
    await expectRefusal(folder, {
      args: ["complete", pebble, "--prompt-file", file],
      code: "file_not_found",
      exitCode: 3,
      says: [`${file} cannot be read: ENOENT: no such file or directory. A readable`],
    });
  });

  test("a prompt longer than the context is refused with both lengths", async () => {
    await expectRefusal(folder, {
      args: ["complete", pebble, "--prompt-file", inFolder("long.txt")],
      code: "context_length_exceeded",
      exitCode: 2,
      says: ["2048", "prompt tokens", "Shorten the prompt"],
    });
  });

  test("a prompt file that is not there is named", async () => {
    await expectRefusal(folder, {
      args: ["complete", pebble, "--prompt-file", inFolder("nothing.txt")],
      code: "file_not_found",
      exitCode: 3,
      says: [inFolder("nothing.txt"), "check the path"],
    });
  });

  test.each([
    ["words.json", "is not JSON"],
    ["ids.json", "4000000"],
  ])("logits refuses %s: %s", async (file, seen) => {
    await expectRefusal(folder, {
      args: ["logits", pebble, "--tokens", inFolder(file), "--out", out],
      code: "invalid_data_file",
      exitCode: 3,
      says: [inFolder(file), seen, "from 0 to 2047", "such as ["],
    });
  });
});

describe("a result without a place", () => {
  test.each([
    ["evaluate", ["evaluate", pebble, "--tasks", "pebble", "--limit", "1"]],
    ["flow", ["flow"]],
    ["quantize", ["quantize", pebble]],
  ])("%s refuses an output folder inside a file", async (_command, args) => {
    await expectRefusal(folder, {
      args: [...args, "--out", inFolder("words.json", "sub")],
      code: "output_unwritable",
      exitCode: 3,
      says: [inFolder("words.json", "sub"), "writable folder", "choose another --out"],
    });
  });

  test("logits refuses a file inside a file before it computes", async () => {
    await expectRefusal(folder, {
      args: ["logits", pebble, "--tokens", inFolder("good.json"), "--out", inFolder("words.json", "x")],
      code: "output_unwritable",
      exitCode: 3,
      says: ["words.json is a file", "writable folder", "choose another --out"],
    });
  });
});

describe("values that a flag does not take", () => {
  test("a task file that wants Python is refused", async () => {
    await expectRefusal(folder, {
      args: ["evaluate", pebble, "--tasks", inFolder("python.yaml")],
      code: "invalid_task",
      exitCode: 2,
      says: ["python.yaml:2", "!function", "JavaScript or TypeScript module"],
    });
  });

  test.each<[string, string[], ErrorCode, string[]]>([
    [
      "an unknown task",
      ["flow", "--tasks", "nope", "--out", "OUT"],
      "unknown_task",
      ['"nope"', "tasks and groups", "millrace evaluate --tasks list"],
    ],
    [
      "an unknown task to evaluate",
      ["evaluate", pebble, "--tasks", "nope"],
      "unknown_task",
      ['"nope"', "tasks and groups", "millrace evaluate --tasks list"],
    ],
    [
      "a port that is no number",
      ["serve", pebble, "--port", "abc"],
      "invalid_option",
      ['--port is "abc"', "from 0 to 65535"],
    ],
    [
      "a port that is too high",
      ["serve", pebble, "--port", "65536"],
      "invalid_option",
      ['"65536"', "from 0 to 65535"],
    ],
    [
      "an unknown scheme",
      ["quantize", pebble, "--scheme", "w9", "--out", "OUT"],
      "invalid_option",
      ['--scheme is "w9"', "w8a8, w4a16"],
    ],
    [
      "a group size that fits no linear",
      ["quantize", pebble, "--scheme", "w4a16", "--group-size", "96", "--out", "OUT"],
      "invalid_scheme",
      ["Group size 96", "128, 64, 32", "--group-size"],
    ],
    [
      "a limit of no number",
      ["flow", "--limit", "few", "--out", "OUT"],
      "invalid_option",
      ['--limit is "few"', "above 0"],
    ],
    [
      "an address for all without a key",
      ["serve", pebble, "--host", "0.0.0.0", "--port", "0"],
      "insecure_bind",
      ["0.0.0.0", "loopback", "--api-key"],
    ],
    [
      "two prompts",
      ["complete", pebble, "--prompt", "A", "--prompt-file", "long.txt"],
      "invalid_option",
      ['--prompt is "A"', "--prompt-file is", "one prompt", "Leave one of them out"],
    ],
    ["no prompt", ["complete", pebble], "invalid_option", ["no prompt", "--prompt-file"]],
    [
      "a misspelt flag",
      ["complete", pebble, "--promt", "x"],
      "invalid_option",
      ["--promt", "--prompt", "--help"],
    ],
    ["no such command", ["comprete"], "invalid_option", ["'comprete'", "complete", "--help"]],
    ["a missing model", ["inspect"], "invalid_option", ["'model'", "millrace inspect --help"]],
  ])("%s is refused", async (_what, args, code, says) => {
    await expectRefusal(folder, {
      args: args.map((part) => (part === "OUT" ? out : part)),
      code,
      exitCode: 2,
      says,
    });
  });
});
