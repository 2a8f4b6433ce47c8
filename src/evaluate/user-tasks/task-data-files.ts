import path from "node:path";
import { parseJsonArray, parseJsonLines } from "../row-reader.ts";
import type { TaskFiles } from "../task.ts";
import { invalidTask } from "./definition.ts";
import type { TaskKeys } from "./task-keys.ts";

/** The splits that a task file names. */
export interface TaskSplits {
  readonly training: string | undefined;
  readonly validation: string | undefined;
  readonly test: string | undefined;
  /** As written; undefined stands for lm-eval's own rule. */
  readonly fewshot: string | undefined;
}

export function readSplits(keys: TaskKeys): TaskSplits {
  const fewshot = keys.object("fewshot_config")?.["split"];
  return {
    training: keys.text("training_split"),
    validation: keys.text("validation_split"),
    test: keys.text("test_split"),
    fewshot: typeof fewshot === "string" ? fewshot : keys.text("fewshot_split"),
  };
}

/**
 * The local files of a task: `dataset_path: json` with `dataset_kwargs.data_files` as in lm-eval, or `dataset_path` itself
 * a file of JSON lines or a JSON array, which is then every split. Relative paths begin at the definition's folder.
 * Throws `invalid_task`.
 */
export function readTaskFiles(keys: TaskKeys, splits: TaskSplits): TaskFiles {
  const defaultSplit = splits.test ?? splits.validation;
  if (defaultSplit === undefined) {
    throw invalidTask(
      keys.definition.file,
      "names no test_split and no validation_split",
      "Name the split to evaluate",
    );
  }
  const dataset = keys.neededText("dataset_path");
  const named = [splits.training, splits.validation, splits.test, splits.fewshot].filter(
    (each) => each !== undefined,
  );
  const files =
    dataset === "json"
      ? filesOfKwargs(keys, named)
      : Object.fromEntries(named.map((split) => [split, [localFile(keys, dataset)]]));
  for (const split of named) {
    if (files[split] === undefined)
      throw keys.wrong("dataset_kwargs", `data_files with a file for the split "${split}"`);
  }
  const folder = path.dirname(keys.definition.file);
  return {
    root: "anywhere",
    splits: Object.fromEntries(
      Object.entries(files).map(([split, names]) => [split, names.map((name) => path.resolve(folder, name))]),
    ),
    defaultSplit,
    parse: (text, where) =>
      text.trimStart().startsWith("[") ? parseJsonArray(text, where) : parseJsonLines(text, where),
  };
}

function filesOfKwargs(keys: TaskKeys, splits: readonly string[]): Record<string, string[]> {
  const allowed = "data_files: {SPLIT: FILE}";
  const { data_files: files, ...rest } = keys.object("dataset_kwargs") ?? {};
  if (files === undefined || Object.keys(rest).length > 0) throw keys.wrong("dataset_kwargs", allowed);
  // The hub's library calls the only split "train" where one file is named.
  const entries =
    typeof files === "string" ? splits.map((split) => [split, files]) : Object.entries(files as object);
  return Object.fromEntries(
    entries.map(([split, file]) => {
      const [name, ...others] = Array.isArray(file) ? (file as unknown[]) : [file];
      if (typeof name !== "string" || others.length > 0)
        throw keys.wrong("dataset_kwargs", `${allowed}, one file for each`);
      return [String(split), [name]];
    }),
  );
}

function localFile(keys: TaskKeys, dataset: string): string {
  if (!/\.(?:jsonl|json|ndjson)(?:\.gz)?$/.test(dataset)) {
    throw keys.wrong(
      "dataset_path",
      "json, with dataset_kwargs: {data_files: {SPLIT: FILE}}, or the path of a local .jsonl or .json file; nothing is downloaded",
    );
  }
  if (keys.entry("dataset_kwargs") !== undefined)
    throw keys.wrong("dataset_kwargs", "nothing where dataset_path is a file");
  return dataset;
}
