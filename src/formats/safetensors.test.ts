import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { isMillraceError } from "../base/errors.ts";
import { readWholeFile } from "./file-access.ts";
import { readSafetensorsHeader } from "./safetensors.ts";
import { openSafetensors, SafetensorsFiles } from "./safetensors-files.ts";
import { writeSafetensors } from "./safetensors-writer.ts";

const folder = mkdtempSync(path.join(tmpdir(), "millrace-safetensors-"));
afterAll(() => rmSync(folder, { recursive: true }));

function fileOf(header: string, data: Uint8Array | number = 0, length = header.length): string {
  const file = path.join(folder, "hostile.safetensors");
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(length));
  writeFileSync(
    file,
    Buffer.concat([
      prefix,
      Buffer.from(header, "latin1"),
      typeof data === "number" ? Buffer.alloc(data) : data,
    ]),
  );
  return file;
}

const entry = (dtype: string, shape: number[], begin: number, end: number): object => ({
  dtype,
  shape,
  data_offsets: [begin, end],
});

describe("a safetensors header", () => {
  it("is read with names, types, shapes, offsets and metadata", () => {
    const json = { __metadata__: { format: "pt" }, b: entry("I8", [3], 4, 7), a: entry("F16", [2, 1], 0, 4) };
    const header = readSafetensorsHeader(fileOf(JSON.stringify(json), 7));
    const start = 8 + JSON.stringify(json).length;
    expect([...header.entries.values()]).toEqual([
      { name: "a", dtype: "F16", shape: [2, 1], offset: start, sizeBytes: 4 },
      { name: "b", dtype: "I8", shape: [3], offset: start + 4, sizeBytes: 3 },
    ]);
    expect(header.metadata).toEqual({ format: "pt" });
  });

  it.each([
    [
      "a length beyond the file",
      () => fileOf("{}", 0, 100),
      "names a header of 100 bytes, but the file has 10",
    ],
    ["a length beyond the limit", () => fileOf("{}", 0, 200_000_000), "at most 100000000 are allowed"],
    ["a length that leaves no exact number", () => fileOf("{}", 0, 2 ** 62), "at most 100000000 are allowed"],
    ["no JSON", () => fileOf("{oops"), "is not JSON"],
    ["a list", () => fileOf("[1]"), "does not begin with {"],
    ["leading space", () => fileOf(" {}"), "does not begin with {"],
    ["bytes that are not UTF-8", () => fileOf('{"\xff":1}'), "not UTF-8"],
    [
      "a repeated tensor",
      () =>
        fileOf(
          '{"a":{"dtype":"I8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"I8","shape":[1],"data_offsets":[0,1]}}',
          1,
        ),
      "repeated key",
    ],
    [
      "a repeated field",
      () => fileOf('{"a":{"dtype":"I8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1),
      "repeated key",
    ],
    ["an entry that is no object", () => fileOf('{"a":3}'), "not described by an object"],
    [
      "a negative dimension",
      () => fileOf(JSON.stringify({ a: entry("I8", [-1], 0, 1) }), 1),
      "shape of whole numbers",
    ],
    [
      "a broken dimension",
      () => fileOf(JSON.stringify({ a: entry("I8", [1.5], 0, 1) }), 1),
      "shape of whole numbers",
    ],
    [
      "a shape that overflows",
      () => fileOf(JSON.stringify({ a: entry("I8", [2 ** 32, 2 ** 32], 0, 1) }), 1),
      "overflows",
    ],
    [
      "one offset",
      () => fileOf('{"a":{"dtype":"I8","shape":[1],"data_offsets":[0]}}', 1),
      "two data_offsets",
    ],
    [
      "offsets the wrong way round",
      () => fileOf(JSON.stringify({ a: entry("I8", [1], 1, 0) }), 1),
      "of -1 bytes",
    ],
    [
      "a size that does not fit the shape",
      () => fileOf(JSON.stringify({ a: entry("F32", [2], 0, 4) }), 4),
      "F32 [2] takes 8",
    ],
    [
      "a hole",
      () => fileOf(JSON.stringify({ a: entry("I8", [1], 0, 1), b: entry("I8", [1], 2, 3) }), 3),
      "leaves a hole",
    ],
    [
      "an overlap",
      () => fileOf(JSON.stringify({ a: entry("I8", [2], 0, 2), b: entry("I8", [2], 1, 3) }), 3),
      "overlaps",
    ],
    [
      "bytes after the last tensor",
      () => fileOf(JSON.stringify({ a: entry("I8", [1], 0, 1) }), 2),
      "its tensors end at byte",
    ],
    [
      "a tensor beyond the end",
      () => fileOf(JSON.stringify({ a: entry("I8", [9], 0, 9) }), 2),
      'its tensor "a" ends at byte',
    ],
    ["metadata that is not text", () => fileOf('{"__metadata__":{"a":1}}'), "not a string"],
  ])("is refused with %s", (_, make, message) => {
    expect(() => readSafetensorsHeader(make())).toThrowError(
      expect.objectContaining({ code: "invalid_model_file", message: expect.stringContaining(message) }),
    );
  });

  it("is refused by name with an element type that is not known", () => {
    expect(() =>
      readSafetensorsHeader(fileOf(JSON.stringify({ a: entry("F3", [1], 0, 1) }), 1)),
    ).toThrowError(
      expect.objectContaining({ code: "unsupported_format", message: expect.stringContaining('type "F3"') }),
    );
  });

  it("with any byte changed or cut off is read or refused, never more", () => {
    const file = path.join(folder, "fuzz.safetensors");
    writeSafetensors(file, [
      { name: "model.a.weight", dtype: "BF16", shape: [4, 8], data: new Uint8Array(64) },
      { name: "model.b", dtype: "I64", shape: [2], data: new Uint8Array(16) },
    ]);
    const good = readFileSync(file);
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 4 }),
        fc.option(fc.nat(good.length), { nil: good.length }),
        (changes, length) => {
          const bytes = Buffer.from(good.subarray(0, length));
          for (const [at, value] of changes) if (at < length) bytes[at] = value;
          writeFileSync(file, bytes);
          try {
            const files = new SafetensorsFiles([readSafetensorsHeader(file)], readWholeFile);
            for (const info of files.infos) expect(files.tensor(info.name).data).toHaveLength(info.sizeBytes);
          } catch (error) {
            if (!isMillraceError(error)) throw error;
          }
        },
      ),
      { numRuns: 1500 },
    );
  });
});

describe("an index of shards", () => {
  it("leads to every tensor, and to a shard that is missing", () => {
    const out = mkdtempSync(path.join(folder, "shards-"));
    const weightMap: Record<string, string> = {};
    for (const i of [0, 1, 2]) {
      const name = `t${i}`;
      weightMap[name] = `model-0000${i + 1}-of-00003.safetensors`;
      const tensor = { name, dtype: "U8", shape: [100], data: new Uint8Array(100).fill(i) };
      writeSafetensors(path.join(out, weightMap[name]), [tensor]);
    }
    writeFileSync(path.join(out, "model.safetensors.index.json"), JSON.stringify({ weight_map: weightMap }));
    const opened = openSafetensors(out, readWholeFile);
    for (const i of [0, 1, 2]) expect(opened.tensor(`t${i}`).data).toEqual(new Uint8Array(100).fill(i));
    rmSync(path.join(out, weightMap["t1"]!));
    expect(() => openSafetensors(out, readWholeFile)).toThrowError(
      expect.objectContaining({ code: "file_not_found" }),
    );
  });

  it.each([
    ["leads out of its folder", { a: "../other.safetensors" }, "invalid_model_file"],
    ["names no tensors", {}, "invalid_model_file"],
    ["names a tensor that its shard does not hold", { b: "one.safetensors" }, "tensor_missing"],
  ])("is refused when it %s", (_, map, code) => {
    const out = mkdtempSync(path.join(folder, "index-"));
    writeSafetensors(path.join(out, "one.safetensors"), [
      { name: "a", dtype: "U8", shape: [1], data: new Uint8Array(1) },
    ]);
    writeFileSync(path.join(out, "model.safetensors.index.json"), JSON.stringify({ weight_map: map }));
    expect(() => openSafetensors(out, readWholeFile)).toThrowError(expect.objectContaining({ code }));
  });
});
