import path from "node:path";
import { z } from "zod";
import { MillraceError } from "../base/errors.ts";
import { type Component, field, type Values } from "../config/component.ts";
import { textList } from "../config/value-schemas.ts";
import type { TaskChoice } from "../evaluate/check-tasks.ts";
import { parseLimits, parseNumFewshot, parseRevisions, parseSplits } from "../evaluate/task-settings.ts";
import { chooseTasks } from "../evaluate/user-tasks/load-tasks.ts";
import { loadHubRows } from "./load-hub-rows.ts";

/** Settings that say what is evaluated; the flow takes them too. */
export const taskSettings = {
  tasks: field(
    "--tasks <names>",
    textList.optional(),
    "tasks, separated by commas: names (`list` explains each) or files (.yaml in lm-eval's form, .js, .ts)",
  ),
  limit: field("--limit <n>", z.string().optional(), "first documents only: 100, or wikitext=4,arc_easy=100"),
  split: field(
    "--split <name>",
    z.string().optional(),
    "split to evaluate: validation, or arc_easy=validation",
  ),
  numFewshot: field(
    "--num-fewshot <n>",
    z.string().optional(),
    "worked examples before each question: 5, or mmlu=5,gsm8k=8 (default: the task's own)",
  ),
  data: field(
    "--data <where>",
    textList.optional(),
    "folder of the tasks' files (arc/, hellaswag/, mmlu/, …); hub: each task's data set, downloaded into the cache; FOLDER,hub: what the folder lacks (default: hub)",
  ),
  dataRevision: field(
    "--data-revision <name>",
    z.string().optional(),
    "branch, tag or commit of the data sets on the hub: v1.1, or gsm8k=COMMIT (default: main)",
  ),
} satisfies Component;

/** Stands in --data for the hub. */
const hubName = "hub";

/** What is evaluated, as the task settings say, with the rows that come from a hub. */
export async function taskChoiceOf(settings: Values<typeof taskSettings>): Promise<TaskChoice> {
  const { tasks = [], limit, split, numFewshot, dataRevision, data = [hubName] } = settings;
  const { names, registry } = await chooseTasks(tasks);
  const folders = data.filter((where) => where !== hubName);
  if (folders.length > 1) {
    throw new MillraceError(
      "invalid_option",
      `--data names ${folders.length} folders: ${folders.join(", ")}. It takes one, and "${hubName}" behind it for what the folder lacks.`,
      { param: "--data" },
    );
  }
  const choice = {
    tasks: names,
    registry,
    limits: parseLimits(limit, registry),
    splits: parseSplits(split, registry),
    numFewshot: parseNumFewshot(numFewshot, registry),
    revisions: parseRevisions(dataRevision, registry),
    dataDir: folders[0] === undefined ? null : path.resolve(folders[0]),
  };
  return { ...choice, hubRows: await loadHubRows(choice, data.includes(hubName)) };
}
