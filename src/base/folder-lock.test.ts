import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { folderLockName, lockFolder } from "./folder-lock.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), "millrace-lock-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

test("a folder is made, held by this process, and given back", () => {
  const place = path.join(folder, "a", "b");
  const lock = lockFolder(place);
  expect(readFileSync(path.join(place, folderLockName), "utf8")).toBe(String(process.pid));
  lock.release();
  expect(readdirSync(place)).toEqual([]);
});

test("a folder that another process holds is refused, and stays held by it", () => {
  const lockPath = path.join(folder, folderLockName);
  writeFileSync(lockPath, String(process.ppid));
  const expected = `${folder} is being written by process ${process.ppid}. `;
  expect(() => lockFolder(folder)).toThrow(
    expect.objectContaining({
      code: "output_exists",
      message: expect.stringContaining(expected) as string,
    }),
  );
  expect(readFileSync(lockPath, "utf8")).toBe(String(process.ppid));
});

test("the lock of a process that is gone, or that holds no number, is taken over", () => {
  const lockPath = path.join(folder, folderLockName);
  // No process has the number 2³⁰.
  for (const left of [String(2 ** 30), "", "x"]) {
    writeFileSync(lockPath, left);
    const lock = lockFolder(folder);
    expect(readFileSync(lockPath, "utf8")).toBe(String(process.pid));
    lock.release();
  }
});
