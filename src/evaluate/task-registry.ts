import { MillraceError } from "../base/errors.ts";
import { nearestName } from "../base/nearest-name.ts";
import type { Task, TaskGroup } from "./task.ts";
import { arcChallenge, arcEasy } from "./tasks/arc.ts";
import { arcChallengeChat } from "./tasks/arc-chat.ts";
import { bbhGroups, bbhTasks } from "./tasks/bbh.ts";
import { humaneval, mbpp } from "./tasks/code.ts";
import { gsm8k, gsm8kCot, gsm8kCotLlama, gsm8kCotZeroshot } from "./tasks/gsm8k.ts";
import { hellaswag } from "./tasks/hellaswag.ts";
import { ifeval } from "./tasks/ifeval.ts";
import { lambadaOpenai } from "./tasks/lambada.ts";
import { mathGroups, mathTasks } from "./tasks/math.ts";
import { mmluGroups, mmluTasks } from "./tasks/mmlu.ts";
import { pebble, pebbleText } from "./tasks/pebble.ts";
import { boolq, openbookqa, piqa, sciq } from "./tasks/simple-choices.ts";
import { truthfulqaMc1, truthfulqaMc2 } from "./tasks/truthfulqa.ts";
import { truthfulqaGen } from "./tasks/truthfulqa-gen.ts";
import { wikitext } from "./tasks/wikitext.ts";
import { winogrande } from "./tasks/winogrande.ts";

/** Every task, in the order in which help lists them. */
const tasks: readonly Task[] = [
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
  truthfulqaGen,
  lambadaOpenai,
  wikitext,
  gsm8k,
  gsm8kCot,
  gsm8kCotZeroshot,
  gsm8kCotLlama,
  ...mathTasks,
  ifeval,
  humaneval,
  mbpp,
  ...mmluTasks,
  ...bbhTasks,
];

const groups: readonly TaskGroup[] = [...mmluGroups, ...mathGroups, ...bbhGroups];

/** Tasks and groups by name. */
export interface TaskRegistry {
  /** In the order in which help lists them. */
  readonly tasks: readonly Task[];
  readonly groups: readonly TaskGroup[];
  has(name: string): boolean;
  /** The task of a name. Throws `unknown_task`. */
  find(name: string): Task;
  /** The tasks behind names of tasks and groups, each once, and the groups met, outer ones first. Throws `unknown_task`. */
  expand(names: readonly string[]): {
    readonly tasks: readonly Task[];
    readonly groups: readonly TaskGroup[];
  };
}

/** The built-in tasks with others beside them, of other names. */
export function createTaskRegistry(
  moreTasks: readonly Task[],
  moreGroups: readonly TaskGroup[],
): TaskRegistry {
  const tasksByName = new Map([...tasks, ...moreTasks].map((task) => [task.name, task]));
  const groupsByName = new Map([...groups, ...moreGroups].map((group) => [group.name, group]));
  const find = (name: string): Task => {
    const task = tasksByName.get(name);
    if (task !== undefined) return task;
    throw unknownTask(name, [...groupsByName.keys(), ...tasksByName.keys()]);
  };
  return {
    tasks: [...tasksByName.values()],
    groups: [...groupsByName.values()],
    has: (name) => tasksByName.has(name) || groupsByName.has(name),
    find,
    expand: (names) => {
      const foundTasks = new Set<Task>();
      const foundGroups = new Set<TaskGroup>();
      const expand = (name: string): void => {
        const group = groupsByName.get(name);
        if (group === undefined) {
          foundTasks.add(find(name));
        } else {
          foundGroups.add(group);
          for (const member of group.members) expand(member);
        }
      };
      for (const name of names) expand(name);
      return { tasks: [...foundTasks], groups: [...foundGroups] };
    },
  };
}

export const builtInTasks: TaskRegistry = createTaskRegistry([], []);

function unknownTask(name: string, known: readonly string[]): MillraceError {
  const misspelt = nearestName(name, known);
  const parts = known.filter((each) => each !== misspelt && (each.includes(name) || name.includes(each)));
  const near = [...(misspelt === undefined ? [] : [misspelt]), ...parts].slice(0, 8);
  const listed =
    near.length > 0 ? `Near to it: ${near.join(", ")}` : `There are ${known.length} tasks and groups`;
  return new MillraceError(
    "unknown_task",
    `There is no task "${name}". ${listed}. \`millrace evaluate --tasks list\` names all; a task of your own is named by its file, such as ./my-task.yaml.`,
    { param: "--tasks" },
  );
}
