import path from "node:path";
import { parseCsv } from "../csv.ts";
import { parseJsonRows } from "../row-reader.ts";
import type { HubDataSet, TaskFiles } from "../task.ts";
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

/** Words of `dataset_path` that say what local files hold. */
const formats = ["json", "csv"];

/**
 * Where the rows of a task lie: `dataset_path: json` or `csv` with `dataset_kwargs.data_files` as in lm-eval; `dataset_path`
 * itself a file of JSON lines or a JSON array, which is then every split, relative paths from the definition's folder; or a
 * data set on the hub, with `dataset_name` and `dataset_kwargs.revision`. Throws `invalid_task`.
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
  if (!formats.includes(dataset) && !localFile.test(dataset)) {
    const splits = Object.fromEntries(named.map((split) => [split, []]));
    return { root: "hub", hub: readHubDataSet(keys, dataset), splits, defaultSplit };
  }
  if (keys.entry("dataset_name") !== undefined)
    throw keys.wrong("dataset_name", "nothing where dataset_path names local files");
  const files = formats.includes(dataset) ? filesOfKwargs(keys, named) : everySplit(keys, named, dataset);
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
    parse: dataset === "csv" ? parseCsv : parseJsonRows,
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

const localFile = /\.(?:jsonl|json|ndjson)(?:\.gz)?$/;

function everySplit(keys: TaskKeys, splits: readonly string[], file: string): Record<string, string[]> {
  if (keys.entry("dataset_kwargs") !== undefined)
    throw keys.wrong("dataset_kwargs", "nothing where dataset_path is a file");
  return Object.fromEntries(splits.map((split) => [split, [file]]));
}

function readHubDataSet(keys: TaskKeys, repo: string): HubDataSet {
  if (!/^\w[\w.-]*(\/\w[\w.-]*)?$/.test(repo)) {
    throw keys.wrong(
      "dataset_path",
      "a data set of the hub as ORG/NAME; json or csv, with dataset_kwargs: {data_files: {SPLIT: FILE}}; or the path of a local .jsonl or .json file",
    );
  }
  // Code of a data set never runs here, so that permission for it changes nothing.
  const { revision, trust_remote_code: _trust, ...rest } = keys.object("dataset_kwargs") ?? {};
  if ((revision !== undefined && typeof revision !== "string") || Object.keys(rest).length > 0)
    throw keys.wrong("dataset_kwargs", "revision: a branch, tag or commit, where dataset_path is a data set");
  const config = keys.text("dataset_name") ?? null;
  return { repo, config, ...(revision === undefined ? {} : { revision }) };
}
