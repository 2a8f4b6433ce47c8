import { expect, test } from "vitest";
import { pebble } from "../../../tests/e2e/run-cli.ts";
import type { TaskChoice } from "../../evaluate/check-tasks.ts";
import { parseLimits, parseNumFewshot, parseSplits } from "../../evaluate/task-settings.ts";
import { parseBudget } from "./budget.ts";
import type { BudgetQuestion } from "./budget-plan.ts";
import { placeOf } from "./kept-search.ts";

function tasksWith(limit?: string, split?: string, shots?: string): TaskChoice {
  return {
    tasks: ["arc_easy"],
    limits: parseLimits(limit),
    splits: parseSplits(split),
    numFewshot: parseNumFewshot(shots),
  } as unknown as TaskChoice;
}

const question: BudgetQuestion = {
  modelPath: pebble,
  modelName: "pebble",
  budget: parseBudget("recovery>=99% on arc_easy"),
  dtype: "auto",
  tokenizer: null,
  ignore: [],
  maxMemoryBytes: null,
  windows: [Int32Array.of(1, 2)],
  text: { file: "text.txt", sha256: "a" },
  format: "auto",
  isMixed: false,
  tasks: tasksWith("arc_easy=10"),
  taskFiles: { "arc/test.jsonl": "a" },
  kernels: "reference",
};

test("an equal question is kept in one place, whatever its text is called", () => {
  const again = { ...question, tasks: tasksWith("arc_easy=10"), text: { file: "copy.txt", sha256: "a" } };
  expect(placeOf("out", again)).toBe(placeOf("out", question));
});

test.each<[string, Partial<BudgetQuestion>]>([
  ["the text holds something else", { text: { file: "text.txt", sha256: "b" } }],
  ["other tokens of it are predicted", { windows: [Int32Array.of(1, 2, 3)] }],
  ["a limit of one task differs", { tasks: tasksWith("arc_easy=20") }],
  ["the split differs", { tasks: tasksWith("arc_easy=10", "validation") }],
  ["the shots differ", { tasks: tasksWith("arc_easy=10", undefined, "5") }],
  ["a file of the tasks holds something else", { taskFiles: { "arc/test.jsonl": "b" } }],
  ["the budget differs", { budget: parseBudget("recovery>=98% on arc_easy") }],
  [
    "another tokenizer goes into it",
    {
      tokenizer: {
        origin: "other",
        tokenizerJson: {},
        tokenizerConfig: {},
        chatTemplate: null,
        generationConfig: null,
      },
    },
  ],
  ["the kernels differ", { kernels: "native" }],
])("a search is made anew where %s", (_, change) => {
  expect(placeOf("out", { ...question, ...change })).not.toBe(placeOf("out", question));
});
