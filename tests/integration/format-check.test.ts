import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { repositoryPath } from "../test-data.ts";

let root = "";
beforeAll(() => {
  root = mkdtempSync(path.join(tmpdir(), "millrace-format-"));
  spawnSync("git", ["init", "--quiet"], { cwd: root });
  for (const name of ["biome.json", ".gitignore"]) cpSync(repositoryPath(name), path.join(root, name));
});
afterAll(() => rmSync(root, { recursive: true }));

/** The format check of `npm run check` on a file with three faults. */
function check(file: string): number | null {
  mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
  writeFileSync(path.join(root, file), '{ "a":1,\n\n\n"b" : 2}');
  const biome = repositoryPath("node_modules", "@biomejs", "biome", "bin", "biome");
  const args = [biome, "check", "--linter-enabled=false", "--error-on-warnings", "."];
  const { status } = spawnSync(process.execPath, args, { cwd: root });
  rmSync(path.join(root, file));
  return status;
}

test.each([
  "out/model/comparison.json",
  ".millrace/cache.json",
  "coverage/coverage.json",
  "dist/a.json",
  "build/native/a.json",
])("the format check leaves %s alone, as git does", (file) => {
  expect(check(file)).toBe(0);
});

test("the format check sees a badly written file of the repository", () => {
  expect(check("src/a.json")).toBe(1);
});
