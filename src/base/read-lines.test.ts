import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { readLines } from "./read-lines.ts";

test.each([
  ["nothing", ""],
  ["a last line that ends", "a\n\nb\n"],
  ["a last line without end", "a\nb"],
  ["characters and lines across parts", `x${"é".repeat(2 ** 20)}\n${"line\n".repeat(2 ** 19)}end`],
])("gives the lines of a file with %s", (_name, text) => {
  const folder = mkdtempSync(path.join(tmpdir(), "millrace-lines-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = path.join(folder, "lines");
  writeFileSync(file, text);
  expect([...readLines(file)].join("\n") === text).toBe(true);
});
