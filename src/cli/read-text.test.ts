import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import { readText } from "./read-text.ts";

const folder = mkdtempSync(path.join(tmpdir(), "millrace-text-"));
afterAll(() => rmSync(folder, { recursive: true }));

function fileOf(bytes: readonly number[]): string {
  const file = path.join(folder, "text.txt");
  writeFileSync(file, Uint8Array.from(bytes));
  return file;
}

test("a text is read as UTF-8, without its byte order mark", () => {
  expect(readText(fileOf([0xef, 0xbb, 0xbf, 0x61, 0xc3, 0xa9]))).toBe("aé");
});

test("bytes that are no text are refused: they would become others", () => {
  expect(() => readText(fileOf([0x61, 0xe9, 0x62]))).toThrow(
    expect.objectContaining({
      code: "invalid_option",
      message: expect.stringMatching(/text\.txt is no UTF-8 text/),
    }),
  );
});
