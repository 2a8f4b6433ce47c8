import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { MillraceError } from "../base/errors.ts";
import { parseJsonLines } from "./row-reader.ts";
import type { ChoiceDocument, ChoiceTask, RollingTask, Task, TextDocument } from "./task.ts";

/** Folder of the tasks that come with Millrace; two up from src/evaluate and dist/evaluate alike. */
const embeddedFolder = fileURLToPath(new URL("../../models/pebble/task/", import.meta.url));

export interface DataChoice {
  /** Folder given with `--data`, or null. */
  readonly dataDir: string | null;
  /** Null for the task's own. */
  readonly split: string | null;
}

/** The documents of a choice task, in file order. Throws `invalid_option`, `file_not_found`, `invalid_data_file`. */
export function loadChoices(task: ChoiceTask, choice: DataChoice): ChoiceDocument[] {
  const { text, file } = readTaskFile(task, choice);
  return parseJsonLines(text, file).map((row, index) => task.readRow(row, `${file}, row ${index + 1},`));
}

/** The documents of a rolling task, in file order. Errors as for `loadChoices`. */
export function loadTexts(task: RollingTask, choice: DataChoice): TextDocument[] {
  const { text, file } = readTaskFile(task, choice);
  return task.readFile(text, file);
}

function readTaskFile(task: Task, choice: DataChoice): { text: string; file: string } {
  const { root, splits, defaultSplit } = task.files;
  const split = choice.split ?? defaultSplit;
  const candidates = splits[split];
  if (candidates === undefined) {
    throw new MillraceError(
      "invalid_option",
      `Task ${task.name} has no split "${split}". It has ${Object.keys(splits).join(", ")}. Write --split task=split for a single task.`,
      { param: "--split" },
    );
  }
  const folder = root === "embedded" ? embeddedFolder : choice.dataDir;
  if (folder === null) {
    throw new MillraceError(
      "invalid_option",
      `Task ${task.name} reads ${candidates[0] ?? ""} from a data folder, and none was given. Say --data DIR.`,
      { param: "--data" },
    );
  }
  for (const candidate of candidates) {
    const file = path.join(folder, candidate);
    const text = readIfThere(file);
    if (text !== null) return { text, file };
  }
  throw new MillraceError(
    "file_not_found",
    `Task ${task.name} found none of ${candidates.join(", ")} in ${folder}. Put one there, or choose another --data or --split.`,
  );
}

function readIfThere(file: string): string | null {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR"))
      return null;
    throw new MillraceError("file_not_found", `${file} cannot be read. Check its permissions.`, {
      cause: error,
    });
  }
}
