import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { freshBundle, timeOfBuild } from "./bundle.ts";

let dist = "";
beforeEach(() => {
  dist = mkdtempSync(path.join(tmpdir(), "millrace-bundle-"));
  mkdirSync(path.join(dist, ".tsbuildinfo"));
  compile("base", 1000);
  compile("cli", 1002);
});
afterEach(() => rmSync(dist, { recursive: true }));

/** As the compiler does when it has built a layer. */
function compile(layer: string, seconds: number): void {
  const file = path.join(dist, ".tsbuildinfo", `${layer}.json`);
  writeFileSync(file, "{}");
  utimesSync(file, seconds, seconds + 0.4);
}

function bundle(): string {
  mkdirSync(path.join(dist, "bundle"));
  writeFileSync(path.join(dist, "bundle", "build-time"), String(timeOfBuild(dist)));
  return pathToFileURL(path.join(dist, "bundle", "run.js")).href;
}

test("there is none before it is made", () => {
  expect(freshBundle(dist)).toBeUndefined();
});

test("one of this build is taken, whatever became of the tests", () => {
  const file = bundle();
  expect(freshBundle(dist)).toBe(file);
  compile("tests", 2000);
  expect(freshBundle(dist)).toBe(file);
});

test.each([900, 1003])("one of a build at another time (%i) is left alone", (seconds) => {
  bundle();
  compile("cli", seconds);
  expect(freshBundle(dist)).toBeUndefined();
});

test("an installed package, without the compiler's files, takes its own", () => {
  const file = bundle();
  rmSync(path.join(dist, ".tsbuildinfo"), { recursive: true });
  expect(freshBundle(dist)).toBe(file);
});
