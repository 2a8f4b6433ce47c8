import { readdirSync } from "node:fs";
import path from "node:path";
import type { Task, TaskGroup } from "../task.ts";
import { builtInTasks, createTaskRegistry, type TaskRegistry } from "../task-registry.ts";
import { type Definition, innerDefinition, invalidTask, readDefinition } from "./definition.ts";
import { groupFromDefinition } from "./group-from-definition.ts";
import { taskFromDefinition } from "./task-from-definition.ts";
import { isObject } from "./task-keys.ts";
import { loadTaskModule } from "./task-module.ts";

export interface ChosenTasks {
  /** Files of tasks replaced by the names of what they define. */
  readonly names: readonly string[];
  readonly registry: TaskRegistry;
}

/**
 * What `--tasks` names: built-in tasks and groups by name, and files: YAML in lm-eval's form, or a JavaScript or
 * TypeScript module. Throws `invalid_task`, `file_not_found`, and what a task's data can throw.
 */
export async function chooseTasks(wanted: readonly string[]): Promise<ChosenTasks> {
  const loader = new TaskLoader();
  const names: string[] = [];
  for (const each of wanted) names.push(...(isTaskFile(each) ? await loader.load(each) : [each]));
  return { names, registry: createTaskRegistry(loader.tasks, loader.groups) };
}

function isTaskFile(name: string): boolean {
  return /\.(?:ya?ml|[cm]?[jt]s)$/.test(name);
}

class TaskLoader {
  readonly tasks: Task[] = [];
  readonly groups: TaskGroup[] = [];

  /** Gives the names of what the file defines. */
  async load(file: string): Promise<string[]> {
    if (/ya?ml$/.test(file)) return [this.#add(readDefinition(file))];
    const tasks = await loadTaskModule(file);
    for (const task of tasks) this.#keep(task, file);
    return tasks.map(({ name }) => name);
  }

  #add(definition: Definition): string {
    const { entries } = definition;
    if (entries.has("group") || Array.isArray(entries.get("task")?.value)) return this.#addGroup(definition);
    const task = taskFromDefinition(definition);
    this.#keep(task, definition.file);
    return task.name;
  }

  #keep(task: Task, file: string): void {
    const isKnown = this.tasks.some(
      ({ name, definitionHash }) => name === task.name && definitionHash === task.definitionHash,
    );
    if (isKnown) return;
    if (builtInTasks.has(task.name) || this.tasks.some(({ name }) => name === task.name)) {
      throw invalidTask(
        file,
        `defines a task "${task.name}", and there is one of that name`,
        "Give it a name of its own",
      );
    }
    this.tasks.push(task);
  }

  #addGroup(definition: Definition): string {
    const { file, entries } = definition;
    const name = entries.get("group")?.value;
    const listed = entries.get("task");
    const wanted = typeof listed?.value === "string" ? [listed.value] : listed?.value;
    const isNamed = typeof name === "string" && /^\w[\w.+-]*$/.test(name);
    if (!isNamed || listed === undefined || !Array.isArray(wanted) || wanted.length === 0) {
      throw invalidTask(
        file,
        "is a group without a name of letters and digits, or without members",
        "Write group: NAME and task: [NAMES]",
      );
    }
    const members = (wanted as unknown[]).map((member) => this.#addMember(definition, member, listed.where));
    const registry = createTaskRegistry(this.tasks, this.groups);
    this.groups.push(groupFromDefinition(definition, members, registry.expand(members).tasks));
    return name;
  }

  /** A built-in name, the name of a task or group in a file of the same folder, or a definition inside the group's. */
  #addMember(outer: Definition, member: unknown, where: string): string {
    if (isObject(member)) {
      const { task, group } = member;
      // A name with changed keys stands for that task's file with these keys in place.
      const base = typeof task === "string" && group === undefined ? findBeside(outer, task) : undefined;
      const inner = innerDefinition(outer, member, where);
      return this.#add(
        base === undefined ? inner : { ...base, entries: new Map([...base.entries, ...inner.entries]) },
      );
    }
    const name = String(member);
    if (
      builtInTasks.has(name) ||
      this.tasks.some((task) => task.name === name) ||
      this.groups.some((group) => group.name === name)
    )
      return name;
    const beside = findBeside(outer, name);
    if (beside !== undefined) return this.#add(beside);
    throw invalidTask(
      where,
      `has the member "${name}"`,
      "A member is a built-in task or group, or one that a YAML file of the same folder defines",
    );
  }
}

/** The definition of a name among the YAML files of a definition's folder. */
function findBeside({ file }: Definition, name: string): Definition | undefined {
  const folder = path.dirname(file);
  for (const each of readdirSync(folder).sort()) {
    const other = path.join(folder, each);
    if (!/\.ya?ml$/.test(each) || other === file) continue;
    const definition = readDefinition(other);
    const own = definition.entries.get("group") ?? definition.entries.get("task");
    if (own?.value === name) return definition;
  }
  return undefined;
}
