import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { MillraceError } from "../base/errors.ts";
import { packagePath } from "../base/package-folder.ts";
import type { HubRows } from "./hub-rows.ts";
import { decodeText } from "./row-files.ts";
import { badRow, parseJsonLines, type Row } from "./row-reader.ts";
import type { Question, Shot, Task, TaskFiles } from "./task.ts";

/** Reads the files of tasks; several tasks may share one (MMLU), so that each is read and parsed once. */
export class TaskData {
  readonly #dataDir: string | null;
  readonly #hubRows: HubRows | null;
  readonly #rows = new Map<string, { readonly file: string; readonly rows: readonly Row[] }>();
  readonly #hashes = new Map<string, string>();

  /**
   * @param dataDir the folder given with `--data`, or null
   * @param hubRows what was brought from a hub
   */
  constructor(dataDir: string | null, hubRows: HubRows | null = null) {
    this.#dataDir = dataDir;
    this.#hubRows = hubRows;
  }

  /** Whether the folder has a file of a split. */
  isInFolder({ root, splits }: TaskFiles, split: string): boolean {
    const folder = this.#folderOf(root);
    return folder !== null && withGz(splits[split] ?? []).some((name) => existsSync(path.join(folder, name)));
  }

  /** sha256 of each file that was read so far, by its root and its path below it, or by its place on the hub. */
  hashes(): Record<string, string> {
    return Object.fromEntries(this.#hashes);
  }

  /**
   * The questions of a split, in file order; null stands for the task's own split. Throws `invalid_option`,
   * `file_not_found`, `invalid_data_file`.
   */
  questions<T extends Task>(task: T, split: string | null): ReturnType<T["readRow"]>[] {
    const wanted = split ?? task.files.defaultSplit;
    const { file, rows } = this.rowsOf(task, wanted);
    const { select } = task.files;
    const questions: ReturnType<T["readRow"]>[] = [];
    for (const [index, row] of rows.entries()) {
      if (select !== undefined && !select(row, wanted)) continue;
      questions.push(task.readRow(row, `${file}, row ${index + 1},`) as ReturnType<T["readRow"]>);
    }
    if (questions.length === 0) {
      throw badRow(
        file,
        `has no row of task ${task.name}, split ${wanted}`,
        "the complete file of the data set",
      );
    }
    return questions;
  }

  /** The rows of a split as shots, with the row that each was. Errors as for `questions`. */
  shotsOfSplit(task: Task, split: string): Question[] {
    const { readShot } = task;
    if (readShot === undefined) return this.questions(task, split) as Question[];
    return this.questions(task, split).map(({ doc }) => ({ doc, ...readShot(doc, `task ${task.name}`) }));
  }

  /** The shots that a task keeps in a file of their own; none where it does not. Errors as for `questions`. */
  shots({ name, fewshot }: Task): Shot[] {
    if (fewshot.from !== "file") return [];
    const { text, file } = this.#read(name, "embedded", [fewshot.path]);
    return fewshot.read(text, file);
  }

  /** The text of a file that a task needs besides its rows. Errors as for `questions`. */
  support({ name, files }: Task, path: string): string {
    return this.#read(name, files.root, [path]).text;
  }

  /** The rows of a split as they stand in its file. Errors as for `questions`. */
  rowsOf(
    task: Pick<Task, "name" | "files">,
    split: string,
  ): { readonly file: string; readonly rows: readonly Row[] } {
    const { root, splits, parse = parseJsonLines } = task.files;
    const candidates = splits[split];
    if (candidates === undefined) {
      throw new MillraceError(
        "invalid_option",
        `Task ${task.name} has no split "${split}". It has ${Object.keys(splits).join(", ")}. Write --split task=split for a single task.`,
        { param: "--split" },
      );
    }
    const fromHub = this.#hubRows?.find(task.name, split);
    if (fromHub !== undefined) {
      for (const [file, hash] of Object.entries(fromHub.hashes)) this.#hashes.set(file, hash);
      return fromHub;
    }
    const key = `${root}:${candidates.join(":")}`;
    const known = this.#rows.get(key);
    if (known !== undefined) return known;
    const { text, file } = this.#read(task.name, root, candidates);
    const entry = { file, rows: parse(text, file) };
    this.#rows.set(key, entry);
    return entry;
  }

  #folderOf(root: Task["files"]["root"]): string | null {
    if (root === "anywhere") return "";
    if (root === "hub") return null;
    return root === "embedded" ? packagePath("") : this.#dataDir;
  }

  #read(
    task: string,
    root: Task["files"]["root"],
    candidates: readonly string[],
  ): { readonly text: string; readonly file: string } {
    const folder = this.#folderOf(root);
    if (folder === null) {
      throw new MillraceError(
        "invalid_option",
        `Task ${task} reads ${candidates[0] ?? ""} from a data folder, and none was given. Say --data DIR.`,
        { param: "--data" },
      );
    }
    for (const candidate of withGz(candidates)) {
      const file = path.join(folder, candidate);
      const bytes = readIfThere(file);
      if (bytes === null) continue;
      this.#hashes.set(`${root}/${candidate}`, createHash("sha256").update(bytes).digest("hex"));
      return { text: decodeText(bytes, file), file };
    }
    if (folder !== "" && !existsSync(folder)) {
      throw new MillraceError(
        "file_not_found",
        `Task ${task} looks for ${candidates[0] ?? ""} in ${folder}, and there is no such folder. Correct --data.`,
        { param: "--data" },
      );
    }
    throw new MillraceError(
      "file_not_found",
      `Task ${task} found none of ${candidates.join(", ")}${folder === "" ? "" : ` in ${folder}`}. Put one there, or choose another --data or --split.`,
    );
  }
}

function withGz(names: readonly string[]): string[] {
  return names.flatMap((name) => [name, `${name}.gz`]);
}

function readIfThere(file: string): Buffer | null {
  try {
    return readFileSync(file);
  } catch (error) {
    if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR"))
      return null;
    throw new MillraceError("file_not_found", `${file} cannot be read. Check its permissions.`, {
      cause: error,
    });
  }
}
