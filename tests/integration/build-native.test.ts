import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { repositoryPath } from "../test-data.ts";

let root = "";
beforeAll(() => {
  root = mkdtempSync(path.join(tmpdir(), "millrace-build-"));
  mkdirSync(path.join(root, "scripts"));
  mkdirSync(path.join(root, "native"));
  cpSync(repositoryPath("scripts", "build-native.mjs"), path.join(root, "scripts", "build-native.mjs"));
  symlinkSync(repositoryPath("node_modules"), path.join(root, "node_modules"));
  writeFileSync(path.join(root, "native", "one.cc"), "int one() { return 1; }\n");
  writeFileSync(path.join(root, "broken"), '#!/bin/sh\n[ "$1" = --version ] && echo broken 1.0\n', {
    mode: 0o755,
  });
});
afterAll(() => rmSync(root, { recursive: true }));

function build(env: NodeJS.ProcessEnv): { status: number | null; text: string } {
  const run = spawnSync(process.execPath, [path.join(root, "scripts", "build-native.mjs")], {
    encoding: "utf8",
    env,
  });
  return { status: run.status, text: run.stdout + run.stderr };
}

const here = process.arch === "x64" && process.platform !== "win32";

test.runIf(here).each([
  ["none on the path", { PATH: "/nonexistent" }],
  ["CXX names none", { PATH: process.env["PATH"], CXX: "none" }],
])("without a compiler the build says so and ends well: %s", (_, env) => {
  const { status, text } = build(env);
  expect(text).toMatch(/not built: no C\+\+ compiler was found \(g\+\+ or clang\+\+.*reference backend/);
  expect(status).toBe(0);
  expect(existsSync(path.join(root, "build"))).toBe(false);
});

test.runIf(here)("a compiler that fails ends the build with what to do", () => {
  const { status, text } = build({ CXX: path.join(root, "broken") });
  expect(text).toMatch(/Building the native kernels failed: .*one\.cc.* exit code 1.*CXX=none/);
  expect(status).toBe(1);
  expect(existsSync(path.join(root, "build", "native", "millrace.node"))).toBe(false);
});
