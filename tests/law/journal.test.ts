import { appendFileSync, mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import { codeFingerprint, LawJournal } from "./journal.ts";

const folder = mkdtempSync(path.join(os.tmpdir(), "millrace-journal-"));
afterAll(() => rmSync(folder, { recursive: true }));

test("what has passed is known to a later process, unless the code has changed since", () => {
  const file = path.join(folder, "new", "journal.jsonl");
  const first = new LawJournal(file, "code 1");
  first.add({ model: "a", setting: "x", seed: 5, seconds: 2 });
  first.add({ model: "a", setting: "y", seed: 6, seconds: 0.6 });
  // A process that was killed leaves half a line; another one writes on.
  appendFileSync(file, '\n{"code":"code 1","model":"a","set\n');
  new LawJournal(file, "code 1").add({ model: "b", setting: "x", seed: 7, seconds: 1 });
  const again = new LawJournal(file, "code 1");
  expect(["x", "y", "z"].map((setting) => again.has("a", setting))).toEqual([true, true, false]);
  expect(again.progress("a", 8)).toBe("2 of 8 settings of a have passed, in 3 s");
  expect(again.has("b", "x")).toBe(true);
  expect(new LawJournal(file, "code 2").has("a", "x")).toBe(false);
});

test("the code's fingerprint is the same for the same code", () => {
  expect(codeFingerprint()).toMatch(/^[0-9a-f]{16}$/);
  expect(codeFingerprint()).toBe(codeFingerprint());
});
