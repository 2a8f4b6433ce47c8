import { MillraceError } from "../base/errors.ts";
import { builtInTasks, type TaskRegistry } from "./task-registry.ts";

/** A setting for all tasks, or for single ones. */
export interface PerTask<T> {
  readonly forAll: T | null;
  readonly byTask: ReadonlyMap<string, T>;
}

export function settingFor<T>(setting: PerTask<T>, task: string): T | null {
  return setting.byTask.get(task) ?? setting.forAll;
}

/** `--limit 100` or `--limit wikitext=4,arc_easy=100`. Throws `invalid_option` or `unknown_task`. */
export function parseLimits(text: string | null | undefined, registry = builtInTasks): PerTask<number> {
  const read = (value: string): number | undefined =>
    /^\d+$/.test(value) && Number(value) > 0 ? Number(value) : undefined;
  return parsePerTask(text, { option: "--limit", allowed: "a number of documents above 0", read, registry });
}

/** `--split validation` or `--split arc_easy=validation`. Throws `invalid_option` or `unknown_task`. */
export function parseSplits(text: string | null | undefined, registry = builtInTasks): PerTask<string> {
  const read = (value: string): string | undefined => (/^\w+$/.test(value) ? value : undefined);
  return parsePerTask(text, { option: "--split", allowed: "the name of a split", read, registry });
}

/** `--num-fewshot 5` or `--num-fewshot gsm8k=5,mmlu=0`. Throws `invalid_option` or `unknown_task`. */
export function parseNumFewshot(text: string | null | undefined, registry = builtInTasks): PerTask<number> {
  const read = (value: string): number | undefined => (/^\d{1,4}$/.test(value) ? Number(value) : undefined);
  return parsePerTask(text, { option: "--num-fewshot", allowed: "a number of shots", read, registry });
}

/** `--data-revision v1.1` or `--data-revision gsm8k=COMMIT`. Throws `invalid_option` or `unknown_task`. */
export function parseRevisions(text: string | null | undefined, registry = builtInTasks): PerTask<string> {
  const read = (value: string): string | undefined => (/^\w[\w./-]*$/.test(value) ? value : undefined);
  return parsePerTask(text, {
    option: "--data-revision",
    allowed: "a branch, tag or commit",
    read,
    registry,
  });
}

interface PerTaskForm<T> {
  readonly option: string;
  readonly allowed: string;
  readonly read: (value: string) => T | undefined;
  readonly registry: TaskRegistry;
}

function parsePerTask<T>(
  text: string | null | undefined,
  { option, allowed, read, registry }: PerTaskForm<T>,
): PerTask<T> {
  let forAll: T | null = null;
  const byTask = new Map<string, T>();
  for (const part of text?.split(",") ?? []) {
    const [, task, value = ""] = /^\s*(?:([^=]+)=)?([^=]*?)\s*$/.exec(part) ?? [];
    const setting = read(value);
    if (setting === undefined || (task === undefined && forAll !== null)) {
      throw new MillraceError(
        "invalid_option",
        `${option} is "${text}"; it takes ${allowed} for all tasks, or task=value pairs with commas. Correct "${part}".`,
        { param: option },
      );
    }
    if (task === undefined) forAll = setting;
    else for (const { name } of registry.expand([task.trim()]).tasks) byTask.set(name, setting);
  }
  return { forAll, byTask };
}
