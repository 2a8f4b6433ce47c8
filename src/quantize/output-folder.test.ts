import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { checkFreeSpace, openOutputFolder } from "./output-folder.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), "millrace-output-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe("openOutputFolder", () => {
  it("takes a new folder, an empty one and a link to an empty one", () => {
    mkdirSync(path.join(folder, "empty"));
    symlinkSync(path.join(folder, "empty"), path.join(folder, "link"));
    for (const name of ["new", "link"]) {
      const opened = openOutputFolder(path.join(folder, name));
      writeFileSync(path.join(opened.partialPath, "x"), "");
      opened.commit();
      expect(readdirSync(path.join(folder, name))).toEqual(["x"]);
    }
    expect(readdirSync(folder).toSorted()).toEqual(["empty", "link", "new"]);
  });

  it("replaces an earlier folder only when told so, and only when the new one is whole", () => {
    const place = path.join(folder, "taken");
    mkdirSync(place);
    writeFileSync(path.join(place, "old"), "");
    const given = openOutputFolder(place, { replaceEarlier: true });
    given.discard();
    expect(readdirSync(place)).toEqual(["old"]);
    const opened = openOutputFolder(place, { replaceEarlier: true });
    writeFileSync(path.join(opened.partialPath, "new"), "");
    expect(readdirSync(place)).toEqual(["old"]);
    opened.commit();
    expect(readdirSync(place)).toEqual(["new"]);
    expect(readdirSync(folder)).toEqual(["taken"]);
  });

  it("takes an empty partial folder, as a run leaves that ends at once, but none with files", () => {
    const place = path.join(folder, "new");
    mkdirSync(`${place}.partial`);
    openOutputFolder(place).discard();
    mkdirSync(`${place}.partial`);
    writeFileSync(path.join(`${place}.partial`, "mine"), "");
    expect(() => openOutputFolder(place)).toThrow(expect.objectContaining({ code: "output_exists" }));
    expect(readdirSync(`${place}.partial`)).toEqual(["mine"]);
  });

  it("clears all but its own marks and what is to stay", () => {
    const opened = openOutputFolder(path.join(folder, "new"), { keepsPartial: true });
    for (const name of ["x", "y"]) writeFileSync(path.join(opened.partialPath, name), "");
    opened.clear(["x"]);
    opened.commit();
    expect(readdirSync(path.join(folder, "new"))).toEqual(["x"]);
  });

  it("leaves nothing when it is discarded", () => {
    const opened = openOutputFolder(path.join(folder, "new"));
    writeFileSync(path.join(opened.partialPath, "x"), "");
    opened.discard();
    expect(readdirSync(folder)).toEqual([]);
  });

  it("refuses a file or a filled folder of that name", () => {
    writeFileSync(path.join(folder, "file"), "");
    for (const taken of [folder, path.join(folder, "file")]) {
      expect(() => openOutputFolder(taken)).toThrow(expect.objectContaining({ code: "output_exists" }));
    }
  });

  it("refuses what no folder can be made in: a file, /proc", () => {
    writeFileSync(path.join(folder, "file"), "");
    for (const place of [path.join(folder, "file", "x"), "/proc/x"]) {
      expect(() => openOutputFolder(place)).toThrow(
        expect.objectContaining({
          code: "output_unwritable",
          message: expect.stringContaining("Choose another --out") as string,
        }),
      );
      expect(existsSync(`${place}.partial`)).toBe(false);
    }
  });
});

describe("checkFreeSpace", () => {
  it("refuses what cannot fit before anything is written", () => {
    expect(() => checkFreeSpace(folder, Number.MAX_SAFE_INTEGER)).toThrow(
      expect.objectContaining({
        code: "disk_full",
        message: expect.stringMatching(/free; the weights need 8192 TiB/) as string,
      }),
    );
    expect(() => checkFreeSpace(folder, 0)).not.toThrow();
  });
});
