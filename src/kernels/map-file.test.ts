import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import { mapFile } from "./map-file.ts";

const folder = mkdtempSync(path.join(tmpdir(), "millrace-map-"));
afterAll(() => rmSync(folder, { recursive: true }));

test("gives a file's bytes, and keeps the file as it is when the buffer is written to", () => {
  const file = path.join(folder, "data");
  writeFileSync(
    file,
    Uint8Array.from({ length: 10_001 }, (_, i) => i % 251),
  );
  const bytes = new Uint8Array(mapFile(file).buffer);
  expect(bytes).toEqual(Uint8Array.from({ length: 10_001 }, (_, i) => i % 251));
  bytes[0] = 99;
  expect(new Uint8Array(mapFile(file).buffer)[0]).toBe(0);
});

test("reads pages again that were dropped", () => {
  const file = path.join(folder, "large");
  const content = Uint8Array.from({ length: 1 << 20 }, (_, i) => i % 251);
  writeFileSync(file, content);
  const mapped = mapFile(file);
  const bytes = new Uint8Array(mapped.buffer);
  expect(bytes).toEqual(content);
  mapped.dropPages();
  expect(bytes).toEqual(content);
});

test("refuses an empty file", () => {
  const file = path.join(folder, "empty");
  writeFileSync(file, "");
  expect(() => mapFile(file)).toThrow(expect.objectContaining({ code: "invalid_model_file" }));
});

test("refuses a missing file and a folder", () => {
  expect(() => mapFile(path.join(folder, "missing"))).toThrow(
    expect.objectContaining({ code: "file_not_found" }),
  );
  expect(() => mapFile(folder)).toThrow(expect.objectContaining({ code: "file_not_found" }));
});
