import { cpSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ErrorCode } from "../../src/base/error-catalogue.ts";
import { buildGguf, text, u32 } from "../gguf-builder.ts";
import { expectRefusal } from "./expect-refusal.ts";
import { endProcesses, makeFolder, pebble, removeFolders, runCli } from "./run-cli.ts";

let folder: string;

beforeAll(() => {
  folder = makeFolder();
});

afterAll(() => {
  endProcesses();
  removeFolders();
});

const inFolder = (...parts: string[]): string => path.join(folder, ...parts);
const complete = (model: string): string[] => ["complete", model, "--prompt", "x", "--max-tokens", "1"];

interface TensorEntry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly number[];
}

const downProjection = "model.layers.0.mlp.down_proj.weight";

/** A copy of the embedded model whose weights file is changed. */
function damage(name: string, change: (file: Buffer) => Buffer): string {
  const model = inFolder(name);
  cpSync(pebble, model, { recursive: true });
  changeWeights(change)(model);
  return model;
}

function changeWeights(change: (file: Buffer) => Buffer): (model: string) => void {
  return (model) => {
    const weights = path.join(model, "model.safetensors");
    writeFileSync(weights, change(readFileSync(weights)));
  };
}

function changeJson(file: string, change: (json: object) => object): (model: string) => void {
  return (model) => {
    const place = path.join(model, file);
    writeFileSync(place, JSON.stringify(change(JSON.parse(readFileSync(place, "utf8")) as object)));
  };
}

/** Writes another header before the same data: the entry of one tensor is changed. */
function changeEntry(
  change: (entry: TensorEntry, dataSize: number) => Partial<TensorEntry>,
  name: string = "model.norm.weight",
): (file: Buffer) => Buffer {
  return changeHeader((header, dataSize) => ({
    ...header,
    [name]: { ...header[name]!, ...change(header[name]!, dataSize) },
  }));
}

function changeHeader(
  change: (header: Record<string, TensorEntry>, dataSize: number) => Record<string, TensorEntry>,
): (file: Buffer) => Buffer {
  return (file) => {
    const end = 8 + Number(file.readBigUInt64LE(0));
    const before = JSON.parse(file.toString("utf8", 8, end)) as Record<string, TensorEntry>;
    const header = change(before, file.length - end);
    const json = Buffer.from(JSON.stringify(header));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(json.length));
    return Buffer.concat([length, json, file.subarray(end)]);
  };
}

describe("a safetensors file", () => {
  test.each<[string, (file: Buffer) => Buffer, string[]]>([
    [
      "whose header is longer than the file",
      (file) => {
        file.writeBigUInt64LE(2n ** 40n, 0);
        return file;
      },
      [String(2 ** 40), "at most"],
    ],
    [
      "whose header has an absurd length",
      (file) => {
        file.writeBigUInt64LE(2n ** 63n, 0);
        return file;
      },
      [String(2n ** 63n), "at most"],
    ],
    ["that ends inside its header", (file) => file.subarray(0, 100), ["the file has 100"]],
    ["that is empty", () => Buffer.alloc(0), ["0 bytes"]],
    [
      "with a negative shape",
      changeEntry(() => ({ shape: [-4] })),
      ["model.norm.weight", "shape of whole numbers"],
    ],
    [
      "with an offset behind its end",
      changeEntry((_, dataSize) => ({ data_offsets: [dataSize, dataSize + 2 ** 40] })),
      ["model.norm.weight", "1099511627776 bytes", "takes 512"],
    ],
    [
      "with a tensor behind its end",
      changeEntry(() => ({ data_offsets: [2 ** 40, 2 ** 40 + 512] })),
      ["bytes, but its tensor", "model.norm.weight", "ends at byte"],
    ],
    [
      "with offsets turned round",
      changeEntry(({ data_offsets: [a, b] }) => ({ data_offsets: [b!, a!] })),
      ["model.norm.weight"],
    ],
    [
      "whose shape needs other bytes",
      changeEntry(() => ({ shape: [2 ** 40] })),
      ["model.norm.weight", String(2 ** 40)],
    ],
  ])("%s is refused", async (name, change, says) => {
    const model = damage(name.replaceAll(" ", "-"), change);
    await expectRefusal(folder, {
      args: complete(model),
      code: "invalid_model_file",
      exitCode: 3,
      says: ["model.safetensors", ...says, "Fetch the file again"],
    });
  });

  test("with weights that are not numbers loads, the request says so, and quantize names the tensor", async () => {
    const model = damage("nan", (file) => {
      file.writeUInt16LE(0x7fc0, file.length - 2);
      return file;
    });
    await expectRefusal(folder, {
      args: complete(model),
      code: "model_not_finite",
      exitCode: 3,
      says: ["not a number", "millrace quantize"],
    });
    await expectRefusal(folder, {
      args: ["quantize", model, "--out", inFolder("none")],
      code: "model_not_finite",
      exitCode: 3,
      says: ["model.norm.weight", "NaN, element"],
    });
  });
});

describe("a model that opens and cannot run", () => {
  test.each<[string, (model: string) => void, ErrorCode, string[]]>([
    [
      "a tensor is missing",
      changeWeights(
        changeHeader(({ "model.norm.weight": norm, ...others }) => ({
          ...others,
          "model.other.weight": norm!,
        })),
      ),
      "tensor_missing",
      ["model.norm.weight"],
    ],
    [
      "a matrix is transposed",
      changeWeights(changeEntry(({ shape }) => ({ shape: shape.toReversed() }), downProjection)),
      "invalid_model_file",
      ["mlp.down_proj has shape [768, 256]", "asks for [256, 768]"],
    ],
    [
      "a norm has two dimensions",
      changeWeights(changeEntry(() => ({ shape: [256, 1] }))),
      "invalid_model_file",
      ["model.norm.weight has shape [256, 1]", "one dimension"],
    ],
    [
      "the vocabulary has fewer rows",
      changeJson("config.json", (config) => ({ ...config, vocab_size: 4096 })),
      "invalid_model_file",
      ["model.embed_tokens has shape [2048, 256]", "asks for [4096, 256]"],
    ],
    [
      "the tokenizer is broken",
      changeJson("tokenizer.json", () => ({ version: 1 })),
      "invalid_model_file",
      ["runs-not-the-tokenizer-is-broken/tokenizer.json has model = nothing"],
    ],
  ])("where %s, inspect shows it and refuses it as complete does", async (name, change, code, says) => {
    const model = inFolder(`runs-not-${name.replaceAll(" ", "-")}`);
    cpSync(pebble, model, { recursive: true });
    change(model);
    await expectRefusal(folder, { args: complete(model), code, exitCode: 3, says });
    const run = await runCli("inspect", model);
    expect(run.exitCode).toBe(3);
    expect(run.stdout).toMatch(/architecture +LlamaForCausalLM[^]*BF16/);
    for (const part of [...says, `[${code}]`]) expect(run.stderr).toContain(part);
    const json = await runCli("inspect", model, "--json");
    expect(json.exitCode).toBe(3);
    expect(JSON.parse(json.stdout)).toMatchObject({
      canRun: false,
      refusal: expect.stringContaining(says[0]!) as string,
    });
  });
});

describe("a GGUF file", () => {
  test.each<[string, () => Buffer, string[]]>([
    ["of one letter", () => Buffer.from("G"), ["byte 1"]],
    ["cut inside its header", () => smallGguf().subarray(0, 60), ["60"]],
    ["cut inside its data", () => smallGguf().subarray(0, -64), ["tok"]],
    [
      "with a tensor behind its end",
      () => buildGguf({ metadata, tensors: [{ ...embedding, offset: 2 ** 40 }] }),
      ["tok"],
    ],
  ])("%s is refused", async (name, bytes, says) => {
    const file = inFolder(`${name.replaceAll(" ", "-")}.gguf`);
    writeFileSync(file, bytes());
    await expectRefusal(folder, {
      args: complete(file),
      code: "invalid_model_file",
      exitCode: 3,
      says: [path.basename(file), ...says, "Fetch the file again"],
    });
  });
});

const metadata = { "general.architecture": text("llama"), "llama.block_count": u32(1) };
const embedding = { name: "token_embd.weight", dims: [32, 8], type: 0, data: new Uint8Array(32 * 8 * 4) };
const smallGguf = (): Buffer => buildGguf({ metadata, tensors: [embedding] });

describe("--chat-template", () => {
  test.each([
    ["serve", "{% if x %}", "cannot be rendered"],
    ["chat", "{{ raise_exception('no system message') }}", "no system message"],
    ["serve", "Hi!", "leaves the message out"],
  ])("%s refuses %s before the model loads", async (command, template, says) => {
    const file = inFolder("template.jinja");
    writeFileSync(file, template);
    await expectRefusal(folder, {
      args: [command, pebble, "--chat-template", file],
      code: "chat_template_failed",
      exitCode: 2,
      says: [`--chat-template is ${file}`, says, "Jinja template", "Correct the file"],
    });
  });
});
