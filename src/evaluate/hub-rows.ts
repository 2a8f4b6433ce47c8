import { createHash } from "node:crypto";
import { numShots } from "./prompts/shots.ts";
import { parseRowFile } from "./row-files.ts";
import type { Row } from "./row-reader.ts";
import type { HubDataSet, Task } from "./task.ts";
import { type PerTask, settingFor } from "./task-settings.ts";

/** A split that a task reads from a hub. */
export interface HubSplit {
  readonly task: string;
  readonly split: string;
  readonly dataSet: HubDataSet & { readonly revision: string };
}

/** Rows of a split that came from a hub. */
export interface LoadedSplit {
  /** The files for people: "ORG/NAME, CONFIG/test-00000.parquet". */
  readonly file: string;
  readonly rows: readonly Row[];
  /** sha256 of each file, by repository, commit and path. */
  readonly hashes: Readonly<Record<string, string>>;
}

/** Loaded splits, by the names of task and split. */
export class HubRows {
  readonly #splits = new Map<string, LoadedSplit>();

  add({ task, split }: Pick<HubSplit, "task" | "split">, loaded: LoadedSplit): void {
    this.#splits.set(`${task} ${split}`, loaded);
  }

  find(task: string, split: string): LoadedSplit | undefined {
    return this.#splits.get(`${task} ${split}`);
  }
}

/** Settings that decide which splits a task reads. */
export interface SplitSettings {
  readonly splits: PerTask<string>;
  readonly numFewshot: PerTask<number>;
  /** Branches, tags or commits of data sets. */
  readonly revisions: PerTask<string>;
}

/** The splits that tasks read, of those that a hub has. Throws `invalid_option` for shots that a task cannot have. */
export function hubSplitsOf(tasks: readonly Task[], settings: SplitSettings): HubSplit[] {
  return tasks.flatMap((task) => {
    const { name, files, fewshot } = task;
    const { hub } = files;
    if (hub === undefined) return [];
    const hasShots = numShots(task, settingFor(settings.numFewshot, name)) > 0;
    const splits = new Set([settingFor(settings.splits, name) ?? files.defaultSplit]);
    if (hasShots && fewshot.from === "split") splits.add(fewshot.split);
    const revision = settingFor(settings.revisions, name) ?? hub.revision ?? "main";
    return Array.from(splits, (split) => ({ task: name, split, dataSet: { ...hub, revision } }));
  });
}

/** A file of a split, read. */
export interface HubFile {
  /** Below the repository. */
  readonly name: string;
  readonly bytes: Buffer;
}

/** The rows of a split's files, one after the other. Throws `invalid_data_file`. */
export async function parseHubFiles(
  { repo }: Pick<HubDataSet, "repo">,
  commit: string,
  files: readonly HubFile[],
): Promise<LoadedSplit> {
  const rows: Row[] = [];
  const hashes: Record<string, string> = {};
  for (const { name, bytes } of files) {
    for (const row of await parseRowFile(bytes, `${repo}, ${name}`)) rows.push(row);
    hashes[`hub/${repo}@${commit}/${name}`] = createHash("sha256").update(bytes).digest("hex");
  }
  return { file: `${repo}, ${files.map(({ name }) => name).join(" + ")}`, rows, hashes };
}
