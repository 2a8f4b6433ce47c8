import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { repositoryPath } from "../test-data.ts";

test("a server under 40 streams with aborts and drains loses no answer and keeps nothing", {
  timeout: 300_000,
}, async () => {
  const script = repositoryPath("tests", "perf", "soak.mjs");
  const args = [script, "--minutes", "0.3", "--streams", "40", "--drains", "2"];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  process.stdout.write(stdout);
  expect(stdout).toMatch(/\d+ done, \d+ left, 0 refused, 0 cut, 0 unanswered, 0 failed/);
  expect(stdout.trimEnd()).toMatch(/no faults$/);
});
