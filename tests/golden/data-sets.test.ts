import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { parseRowFile } from "../../src/evaluate/row-files.ts";
import { findSplitFiles } from "../../src/hub/data-set-files.ts";
import { globMatcher } from "../../src/hub/glob.ts";
import { repositoryPath } from "../test-data.ts";

const recorded = (name: string): Buffer =>
  readFileSync(repositoryPath("tests", "golden", "recorded", "data-sets", name));

const expected = JSON.parse(recorded("expected.json").toString()) as {
  readonly rows: Readonly<Record<"science" | "mixed", readonly object[]>>;
  readonly trees: readonly {
    readonly name: string;
    readonly files: readonly string[];
    readonly splits: Readonly<Record<string, readonly string[]>>;
  }[];
  readonly globs: { readonly files: readonly string[]; readonly found: Readonly<Record<string, string[]>> };
};

describe("Parquet files that pyarrow wrote", () => {
  test("read as pyarrow reads them, whatever packs them", async () => {
    expect(await parseRowFile(recorded("science.parquet"), "science.parquet")).toEqual(expected.rows.science);
    for (const codec of ["none", "gzip", "zstd", "brotli"]) {
      const name = `mixed-${codec}.parquet`;
      expect(await parseRowFile(recorded(name), name), codec).toEqual(expected.rows.mixed);
    }
  });

  test("are refused by name where they are damaged", async () => {
    const bytes = recorded("mixed-gzip.parquet");
    const damaged = Buffer.from(bytes);
    damaged.fill(0x55, 60, 120);
    for (const wrong of [damaged, bytes.subarray(0, 3000), Buffer.from("no Parquet"), Buffer.alloc(0)])
      await expect(parseRowFile(wrong, "a.parquet")).rejects.toMatchObject({
        code: "invalid_data_file",
        message: expect.stringMatching(/^a\.parquet cannot be read .*Parquet.*fetch it again/) as string,
      });
  });
});

describe("files of splits, as Python's datasets finds them", () => {
  test.each(expected.trees)("by the names of the tree $name", ({ files, splits }) => {
    const source = { repo: "org/set", names: files };
    for (const [split, names] of Object.entries(splits))
      expect(findSplitFiles(source, null, { config: null, split }), split).toEqual(names);
    const there = Object.keys(splits).join(", ");
    expect(() => findSplitFiles(source, null, { config: null, split: "absent" })).toThrow(
      `The data set org/set has no split "absent". It has ${there}.`,
    );
  });

  test("by globs", () => {
    const { files, found } = expected.globs;
    for (const [glob, names] of Object.entries(found))
      expect(files.filter(globMatcher(glob)).toSorted(), glob).toEqual(names);
  });
});
