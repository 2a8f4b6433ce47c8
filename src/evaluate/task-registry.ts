import { MillraceError } from "../base/errors.ts";
import type { Task, TaskGroup } from "./task.ts";
import { arcChallenge, arcEasy } from "./tasks/arc.ts";
import { arcChallengeChat } from "./tasks/arc-chat.ts";
import { bbhGroups, bbhTasks } from "./tasks/bbh.ts";
import { humaneval, mbpp } from "./tasks/code.ts";
import { gsm8k, gsm8kCot, gsm8kCotZeroshot } from "./tasks/gsm8k.ts";
import { hellaswag } from "./tasks/hellaswag.ts";
import { ifeval } from "./tasks/ifeval.ts";
import { lambadaOpenai } from "./tasks/lambada.ts";
import { mathGroups, mathTasks } from "./tasks/math.ts";
import { mmluGroups, mmluTasks } from "./tasks/mmlu.ts";
import { pebble, pebbleText } from "./tasks/pebble.ts";
import { boolq, openbookqa, piqa, sciq } from "./tasks/simple-choices.ts";
import { truthfulqaMc1, truthfulqaMc2 } from "./tasks/truthfulqa.ts";
import { wikitext } from "./tasks/wikitext.ts";
import { winogrande } from "./tasks/winogrande.ts";

/** Every task, in the order in which help lists them. */
export const tasks: readonly Task[] = [
  pebble,
  pebbleText,
  arcEasy,
  arcChallenge,
  arcChallengeChat,
  hellaswag,
  winogrande,
  piqa,
  openbookqa,
  boolq,
  sciq,
  truthfulqaMc1,
  truthfulqaMc2,
  lambadaOpenai,
  wikitext,
  gsm8k,
  gsm8kCot,
  gsm8kCotZeroshot,
  ...mathTasks,
  ifeval,
  humaneval,
  mbpp,
  ...mmluTasks,
  ...bbhTasks,
];

export const groups: readonly TaskGroup[] = [...mmluGroups, ...mathGroups, ...bbhGroups];

const tasksByName = new Map(tasks.map((task) => [task.name, task]));
const groupsByName = new Map(groups.map((group) => [group.name, group]));

/** The task of a name. Throws `unknown_task`. */
export function findTask(name: string): Task {
  const task = tasksByName.get(name);
  if (task !== undefined) return task;
  throw unknownTask(name);
}

/** The tasks behind names of tasks and groups, each once, and the groups met, outer ones first. Throws `unknown_task`. */
export function expandTasks(names: readonly string[]): {
  readonly tasks: readonly Task[];
  readonly groups: readonly TaskGroup[];
} {
  const foundTasks = new Set<Task>();
  const foundGroups = new Set<TaskGroup>();
  const expand = (name: string): void => {
    const group = groupsByName.get(name);
    if (group === undefined) {
      foundTasks.add(findTask(name));
    } else {
      foundGroups.add(group);
      for (const member of group.members) expand(member);
    }
  };
  for (const name of names) expand(name);
  return { tasks: [...foundTasks], groups: [...foundGroups] };
}

function unknownTask(name: string): MillraceError {
  const known = [...groupsByName.keys(), ...tasksByName.keys()];
  const near = known.filter((each) => each.includes(name) || name.includes(each)).slice(0, 8);
  const listed =
    near.length > 0 ? `Near to it: ${near.join(", ")}` : `There are ${known.length} tasks and groups`;
  return new MillraceError(
    "unknown_task",
    `There is no task "${name}". ${listed}. \`millrace evaluate --tasks list\` names all.`,
    { param: "--tasks" },
  );
}
