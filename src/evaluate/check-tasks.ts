import { MillraceError } from "../base/errors.ts";
import type { HubRows } from "./hub-rows.ts";
import { createShotSource } from "./prompts/shots.ts";
import type { Question } from "./task.ts";
import { TaskData } from "./task-data.ts";
import type { TaskRegistry } from "./task-registry.ts";
import { type PerTask, settingFor } from "./task-settings.ts";

/** What a user chose to evaluate. */
export interface TaskChoice {
  readonly tasks: readonly string[];
  /** Where the names are looked up. */
  readonly registry: TaskRegistry;
  readonly limits: PerTask<number>;
  readonly splits: PerTask<string>;
  readonly numFewshot: PerTask<number>;
  /** Branches, tags or commits of data sets on a hub. */
  readonly revisions: PerTask<string>;
  readonly dataDir: string | null;
  /** What the tasks read from a hub. */
  readonly hubRows: HubRows | null;
}

/**
 * Reads every data file of the chosen tasks, those of shots and those that come with Millrace too, so that a wrong
 * name or a damaged file is told before a model is loaded. Gives the sha256 of each file and of each definition. Throws `unknown_task`,
 * `invalid_option`, `file_not_found`, `invalid_data_file`.
 */
export function checkTasks({
  tasks,
  registry,
  limits,
  splits,
  numFewshot,
  revisions,
  dataDir,
  hubRows,
}: TaskChoice): Record<string, string> {
  const known = registry.expand(tasks).tasks;
  const names = known.map(({ name }) => name);
  checkNames("--limit", limits, names);
  checkNames("--split", splits, names);
  checkNames("--num-fewshot", numFewshot, names);
  checkNames("--data-revision", revisions, names);
  const data = new TaskData(dataDir, hubRows);
  for (const task of known) {
    data.questions(task, settingFor(splits, task.name));
    createShotSource(task, settingFor(numFewshot, task.name), {
      questions: (split) => data.questions(task, split) as Question[],
      listed: () => data.shots(task),
    });
  }
  const definitions = known.flatMap(({ name, definitionHash }) =>
    definitionHash === undefined ? [] : [[`definition/${name}`, definitionHash]],
  );
  return { ...data.hashes(), ...Object.fromEntries(definitions) };
}

/** A setting for a task that does not run has no effect; its writer thinks that it has. */
function checkNames(option: string, setting: PerTask<unknown>, tasks: readonly string[]): void {
  for (const name of setting.byTask.keys()) {
    if (tasks.includes(name)) continue;
    throw new MillraceError(
      "invalid_option",
      `${option} names the task ${name}, which is not evaluated; --tasks has ${tasks.length === 0 ? "none" : tasks.join(", ")}. Add it there, or leave it out of ${option}.`,
      { param: option },
    );
  }
}
