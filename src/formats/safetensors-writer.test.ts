import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { readWholeFile } from "./file-access.ts";
import { readSafetensorsHeader } from "./safetensors.ts";
import { SafetensorsFiles } from "./safetensors-files.ts";
import { createSafetensors, totalBytes, writeSafetensors } from "./safetensors-writer.ts";
import type { TensorPart } from "./tensor-file.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), "millrace-writer-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const bytes = (n: number, from: number): Uint8Array => Uint8Array.from({ length: n }, (_, i) => i * 7 + from);
const tensors = [
  { name: "z", dtype: "I8", shape: [5], data: bytes(5, 1) },
  { name: "b", dtype: "F32", shape: [2, 3], data: bytes(24, 2) },
  { name: "a", dtype: "F32", shape: [], data: bytes(4, 3) },
  { name: "empty", dtype: "BF16", shape: [0, 4], data: bytes(0, 0) },
  { name: "w", dtype: "I64", shape: [1], data: bytes(8, 4) },
];

test("written tensors come back as they were, wide types first, with the header padded to eight bytes", () => {
  const file = path.join(folder, "round.safetensors");
  writeSafetensors(file, tensors, { made: "here" });
  const header = readSafetensorsHeader(file);
  const filled = [...header.entries.values()].filter((entry) => entry.sizeBytes > 0);
  expect(filled.map((entry) => entry.name)).toEqual(["w", "a", "b", "z"]);
  expect(header.entries.has("empty")).toBe(true);
  expect(header.entries.get("w")!.offset % 8).toBe(0);
  expect(header.metadata).toEqual({ made: "here" });
  const files = new SafetensorsFiles([header], readWholeFile);
  for (const { name, data } of tensors) expect(files.tensor(name).data).toEqual(data);
  expect(totalBytes(tensors)).toBe(5 + 24 + 4 + 8);
});

test("the order of writing changes no byte, and the file is there only when it is whole", () => {
  const [forward, backward] = ["a", "b"].map((name) => path.join(folder, `${name}.safetensors`));
  writeSafetensors(forward!, tensors);
  const writer = createSafetensors(backward!, tensors);
  for (const { name, data } of tensors.toReversed()) writer.write(name, data);
  expect(readdirSync(folder)).toEqual(["a.safetensors", "b.safetensors.partial"]);
  writer.commit();
  expect(readdirSync(folder)).toEqual(["a.safetensors", "b.safetensors"]);
  expect(readFileSync(backward!)).toEqual(readFileSync(forward!));
});

function wholeOf(name: string): TensorPart {
  return { name, at: 0, size: tensors.find((tensor) => tensor.name === name)!.data.length };
}

test("a suspended file is gone on with, its tensors found again; one with another header is begun anew", () => {
  const file = path.join(folder, "x.safetensors");
  const first = createSafetensors(file, tensors);
  first.write("b", bytes(10, 2));
  first.write("b", bytes(24, 2).subarray(10), 10);
  first.write("z", bytes(5, 1));
  first.suspend();
  expect(readdirSync(folder)).toEqual(["x.safetensors.partial"]);

  const second = createSafetensors(file, tensors, { isResumed: true });
  expect(second.isResumed).toBe(true);
  const pieces: Uint8Array[] = [];
  second.keep(wholeOf("b"), (piece) => pieces.push(piece));
  expect(Buffer.concat(pieces)).toEqual(Buffer.from(bytes(24, 2)));
  second.keep(wholeOf("z"), () => {});
  second.reset(wholeOf("z"));
  for (const { name, data } of tensors) if (name !== "b") second.write(name, data);
  second.commit();
  const third = createSafetensors(file, tensors, { isResumed: true });
  expect(third.isResumed).toBe(true);
  for (const { name } of tensors) third.keep(wholeOf(name), () => {});
  third.commit();
  writeSafetensors(path.join(folder, "y.safetensors"), tensors);
  expect(readFileSync(file)).toEqual(readFileSync(path.join(folder, "y.safetensors")));

  const other = createSafetensors(path.join(folder, "z.safetensors"), tensors);
  for (const { name, data } of tensors) other.write(name, data);
  other.suspend();
  const fewer = createSafetensors(path.join(folder, "z.safetensors"), tensors.slice(0, 1), {
    isResumed: true,
  });
  expect(fewer.isResumed).toBe(false);
  fewer.write("z", tensors[0]!.data);
  fewer.commit();
  expect(readSafetensorsHeader(path.join(folder, "z.safetensors")).entries.size).toBe(1);
});

test("a tensor twice, of another size, or not at all is a fault of the caller, and nothing is left", () => {
  const writer = createSafetensors(path.join(folder, "x.safetensors"), tensors);
  writer.write("a", bytes(4, 3));
  expect(() => writer.write("a", bytes(4, 3))).toThrow("a has 4 bytes");
  expect(() => writer.write("b", bytes(25, 3))).toThrow("b has 24 bytes");
  expect(() => writer.write("b", bytes(24, 3), 1)).toThrow("b has 24 bytes");
  expect(() => writer.write("c", bytes(1, 3))).toThrow("c is a tensor of the file");
  expect(() => writer.commit()).toThrow("w lacks 8 bytes");
  writer.discard();
  expect(readdirSync(folder)).toEqual([]);
});
