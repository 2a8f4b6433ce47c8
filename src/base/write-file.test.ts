import type * as fs from "node:fs";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { makeFolder, toWriteFault, writeFileAtomically, writePiecesAtomically } from "./write-file.ts";

const { writeSync } = vi.hoisted(() => ({
  writeSync: { replaced: undefined as (() => number) | undefined },
}));
vi.mock("node:fs", async (importOriginal) => {
  const original = await importOriginal<typeof fs>();
  const replaced = (...args: Parameters<typeof original.writeSync>): number =>
    writeSync.replaced === undefined ? original.writeSync(...args) : writeSync.replaced();
  return { ...original, writeSync: replaced };
});

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), "millrace-write-"));
});
afterEach(() => {
  writeSync.replaced = undefined;
  rmSync(folder, { recursive: true });
});

function systemError(code: string, text: string): Error {
  return Object.assign(new Error(`${code}: ${text}, write`), { code, syscall: "write" });
}

describe("writePiecesAtomically", () => {
  it("has written the first pieces before it asks for the last, and names the file at the end", () => {
    const file = path.join(folder, "lines");
    const line = `${"é".repeat(1000)}\n`;
    function* lines(): Generator<string> {
      for (let number = 0; number < 3000; number += 1) yield line;
      expect(statSync(`${file}.partial`).size).toBeGreaterThan(2 ** 21);
      expect(existsSync(file)).toBe(false);
      yield line;
    }
    writePiecesAtomically(file, lines());
    expect(readFileSync(file, "utf8") === line.repeat(3001)).toBe(true);
  });

  it("leaves nothing where a piece cannot be made", () => {
    function* broken(): Generator<string> {
      yield "a";
      throw new Error("broken");
    }
    expect(() => writePiecesAtomically(path.join(folder, "lines"), broken())).toThrow("broken");
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe("writeFileAtomically", () => {
  it("makes the folders above and replaces an older file", () => {
    const file = path.join(folder, "a", "b", "c.txt");
    writeFileAtomically(file, "old");
    writeFileAtomically(file, "größer");
    expect(readFileSync(file, "utf8")).toBe("größer");
    expect(readdirSync(path.dirname(file))).toEqual(["c.txt"]);
  });

  it("leaves the older file and nothing else when the disk is full", () => {
    const file = path.join(folder, "c.txt");
    writeFileAtomically(file, "old");
    const full = systemError("ENOSPC", "no space left on device");
    writeSync.replaced = () => {
      throw full;
    };
    expect(() => writeFileAtomically(file, "new")).toThrow(
      expect.objectContaining({
        code: "disk_full",
        cause: full,
        message: expect.stringMatching(
          /c\.txt cannot be written: ENOSPC.*enough free space.*another --out/,
        ) as string,
      }),
    );
    expect(readFileSync(file, "utf8")).toBe("old");
    expect(readdirSync(folder)).toEqual(["c.txt"]);
  });

  it("goes on after a short write", () => {
    let calls = 0;
    writeSync.replaced = () => {
      calls += 1;
      return 1;
    };
    writeFileAtomically(path.join(folder, "c.txt"), "abc");
    expect(calls).toBe(3);
  });

  it.each([
    ["a file in the way", () => path.join(folder, "file", "sub", "x.txt"), "is not a folder"],
    ["a folder under its name", () => path.join(folder, "taken"), "EISDIR"],
    ["/proc, where no folder can be made", () => "/proc/none/such/x.txt", "(ENOENT|EROFS|EACCES)"],
  ])("refuses %s", (_, make, problem) => {
    writeFileSync(path.join(folder, "file"), "");
    mkdirSync(path.join(folder, "taken", "inner"), { recursive: true });
    const file = make();
    expect(() => writeFileAtomically(file, "x")).toThrow(
      expect.objectContaining({
        code: "output_unwritable",
        message: expect.stringMatching(
          new RegExp(`cannot be written: .*${problem}.*writable folder.*Choose another --out`),
        ) as string,
      }),
    );
    expect(readdirSync(folder).toSorted()).toEqual(["file", "taken"]);
  });
});

describe("makeFolder", () => {
  it("makes each missing folder, and takes one that is there", () => {
    makeFolder(path.join(folder, "a", "b"));
    makeFolder(path.join(folder, "a", "b"));
    expect(readdirSync(path.join(folder, "a"))).toEqual(["b"]);
  });
});

describe("toWriteFault", () => {
  it.each([
    ["ENOSPC", "disk_full"],
    ["EDQUOT", "disk_full"],
    ["EFBIG", "disk_full"],
    ["EROFS", "output_unwritable"],
    ["EACCES", "output_unwritable"],
    ["EPERM", "output_unwritable"],
    ["ENOTDIR", "output_unwritable"],
    ["EIO", "output_unwritable"],
  ])("tells %s as %s", (code, ours) => {
    const error = systemError(code, "why");
    expect(toWriteFault("out", error)).toMatchObject({ code: ours, cause: error, param: "--out" });
  });

  it("leaves other errors as they are", () => {
    const bug = new TypeError("x is undefined");
    expect(toWriteFault("out", bug)).toBe(bug);
  });
});
