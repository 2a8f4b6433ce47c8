import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { buildId, hashBuild } from "./build-id.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), "millrace-build-id-"));
  mkdirSync(path.join(folder, "code", "deep"), { recursive: true });
  write("code/main.js", "one");
  write("code/deep/part.js", "two");
  write("millrace.node", "kernels");
});
afterEach(() => rmSync(folder, { recursive: true }));

function write(name: string, content: string): void {
  writeFileSync(path.join(folder, name), content);
}

const hash = (): string => hashBuild(path.join(folder, "code"), [path.join(folder, "millrace.node")]);

test.each([
  ["a changed file", () => write("code/deep/part.js", "2")],
  ["a further file", () => write("code/new.js", "")],
  ["a renamed file", () => write("code/main2.js", "one")],
  ["other kernels", () => write("millrace.node", "others")],
  ["no kernels", () => rmSync(path.join(folder, "millrace.node"))],
])("%s gives another build", (_, change) => {
  const before = hash();
  expect(hash()).toBe(before);
  change();
  expect(hash()).not.toBe(before);
});

test("tests, types, maps, the bundle and the compiler's own files are no part of a build", () => {
  const before = hash();
  for (const name of [".tests", "bundle"]) mkdirSync(path.join(folder, "code", name));
  const names = ["main.test.js", "main.d.ts", "main.js.map", ".tests/x.js", "bundle/x.js"];
  for (const name of names) write(`code/${name}`, "x");
  expect(hash()).toBe(before);
});

test("this program has one", () => {
  expect(buildId()).toMatch(/^[0-9a-f]{12}$/);
  expect(buildId()).toBe(buildId());
});
