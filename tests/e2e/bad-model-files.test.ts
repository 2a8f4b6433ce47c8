import { cpSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, test } from "vitest";
import { buildGguf, text, u32 } from "../gguf-builder.ts";
import { expectRefusal } from "./expect-refusal.ts";
import { endProcesses, makeFolder, pebble, removeFolders } from "./run-cli.ts";

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

/** A copy of the embedded model whose weights file is changed. */
function damage(name: string, change: (file: Buffer) => Buffer): string {
  const model = inFolder(name);
  cpSync(pebble, model, { recursive: true });
  const weights = path.join(model, "model.safetensors");
  writeFileSync(weights, change(readFileSync(weights)));
  return model;
}

/** Writes another header before the same data: the entry of one tensor is changed. */
function changeEntry(
  change: (entry: TensorEntry, dataSize: number) => Partial<TensorEntry>,
): (file: Buffer) => Buffer {
  return (file) => {
    const end = 8 + Number(file.readBigUInt64LE(0));
    const header = JSON.parse(file.toString("utf8", 8, end)) as Record<string, TensorEntry>;
    const name = "model.norm.weight";
    header[name] = { ...header[name]!, ...change(header[name]!, file.length - end) };
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
