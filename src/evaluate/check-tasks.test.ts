import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import { checkTasks, type TaskChoice } from "./check-tasks.ts";
import { builtInTasks } from "./task-registry.ts";
import { parseLimits, parseNumFewshot, parseRevisions, parseSplits } from "./task-settings.ts";

const folder = mkdtempSync(path.join(os.tmpdir(), "millrace-tasks-"));
mkdirSync(path.join(folder, "damaged", "hellaswag"), { recursive: true });
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function choice(tasks: readonly string[], more: Partial<TaskChoice> = {}): TaskChoice {
  return {
    tasks,
    registry: builtInTasks,
    limits: parseLimits(null),
    splits: parseSplits(null),
    numFewshot: parseNumFewshot(null),
    revisions: parseRevisions(null),
    dataDir: null,
    hubRows: null,
    ...more,
  };
}

test("accepts the embedded tasks with their limits", () => {
  expect(() => checkTasks(choice(["pebble"], { limits: parseLimits("pebble=3") }))).not.toThrow();
});

test.each<[string, TaskChoice, string, RegExp]>([
  ["an unknown task", choice(["pebbles"]), "unknown_task", /pebbles/],
  ["a task without its data folder", choice(["wikitext"]), "invalid_option", /--data/],
  [
    "a data folder without the file",
    choice(["hellaswag"], { dataDir: folder }),
    "file_not_found",
    /hellaswag/,
  ],
  [
    "a limit for a task that does not run",
    choice(["pebble"], { limits: parseLimits("wikitext=4") }),
    "invalid_option",
    /--limit.*wikitext.*pebble/,
  ],
  [
    "a split for a task that does not run",
    choice([], { splits: parseSplits("arc_easy=validation") }),
    "invalid_option",
    /--split.*arc_easy.*none/,
  ],
  ["a split that a task lacks", choice(["pebble"], { splits: parseSplits("x") }), "invalid_option", /"x"/],
])("refuses %s", (_name, wrong, code, message) => {
  expect(() => checkTasks(wrong)).toThrowError(
    expect.objectContaining({ code, message: expect.stringMatching(message) as string }) as Error,
  );
});

test("refuses a damaged file with its place", () => {
  for (const name of ["validation", "test"]) {
    writeFileSync(path.join(folder, "damaged", "hellaswag", `${name}.jsonl`), '{"ind": 1\n');
  }
  const damaged = choice(["hellaswag"], { dataDir: path.join(folder, "damaged") });
  expect(() => checkTasks(damaged)).toThrowError(/jsonl:1|hellaswag/);
});
