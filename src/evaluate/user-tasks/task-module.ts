import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { z } from "zod";
import { MillraceError, messageOf } from "../../base/errors.ts";
import { sha256 } from "../sha256.ts";
import type { Task } from "../task.ts";
import { invalidTask } from "./definition.ts";

const aFunction = z.custom<(...args: never[]) => unknown>(
  (value) => typeof value === "function",
  "it is no function",
);

const taskShape = z.looseObject({
  kind: z.enum(["multiple_choice", "loglikelihood", "loglikelihood_rolling", "generate_until"]),
  name: z.string().regex(/^\w+$/, "it takes letters, digits and underscores"),
  version: z.union([z.number(), z.string()]),
  summary: z.string(),
  files: z.looseObject({
    root: z.enum(["data", "anywhere"]),
    splits: z.record(z.string(), z.array(z.string())),
    defaultSplit: z.string(),
  }),
  fewshot: z.looseObject({ from: z.enum(["none", "list", "file", "split"]), count: z.int().nonnegative() }),
  metrics: z
    .array(z.looseObject({ name: z.string(), higherIsBetter: z.boolean(), aggregation: z.looseObject({}) }))
    .min(1),
  readRow: aFunction,
});

const scoring = z.union([
  z.looseObject({ score: aFunction }),
  z.looseObject({ loadScore: aFunction }),
  z.looseObject({ programOf: aFunction }),
]);

/**
 * The tasks that a module exports as `default`, one or a list, each with `defineTask` of the package or as a plain
 * object. Paths below `files.root: "anywhere"` begin at the module's folder. TypeScript needs a Node that strips types
 * (22.18 or newer). Throws `invalid_task`, `file_not_found`.
 */
export async function loadTaskModule(file: string): Promise<Task[]> {
  const full = path.resolve(file);
  const exported = await importDefault(full);
  const listed = Array.isArray(exported) ? (exported as unknown[]) : [exported];
  const definitionHash = sha256(readFileSync(full, "utf8"));
  return listed.map((value) => {
    const problem = taskShape.safeParse(value).error?.issues[0];
    if (problem !== undefined) {
      const place = problem.path.length === 0 ? "its default export" : problem.path.join(".");
      throw invalidTask(
        full,
        `exports no task as default: ${place}: ${problem.message}`,
        "Export one made by defineTask",
      );
    }
    if (!scoring.safeParse(value).success) {
      throw invalidTask(
        full,
        "exports a task without score, loadScore or programOf",
        "Give it one of these functions",
      );
    }
    const task = value as Task;
    return { ...task, definitionHash, files: placeFiles(task.files, path.dirname(full)) };
  });
}

function placeFiles(files: Task["files"], folder: string): Task["files"] {
  if (files.root !== "anywhere") return files;
  const splits = Object.entries(files.splits).map(([split, names]) => [
    split,
    names.map((name) => path.resolve(folder, name)),
  ]);
  return { ...files, splits: Object.fromEntries(splits) as Record<string, string[]> };
}

async function importDefault(file: string): Promise<unknown> {
  // Asked beforehand: the error of an import that the module makes names the module's file too.
  if (!existsSync(file)) {
    throw new MillraceError("file_not_found", `The task module ${file} is not there. Check its path.`, {
      param: "--tasks",
    });
  }
  try {
    const module = (await import(pathToFileURL(file).href)) as { readonly default?: unknown };
    return module.default;
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    throw invalidTask(file, `cannot be imported: ${messageOf(error)}`, adviceFor(code), error);
  }
}

function adviceFor(code: unknown): string {
  if (code === "ERR_UNKNOWN_FILE_EXTENSION") {
    return "This Node reads no TypeScript: use Node 22.18 or newer, or a JavaScript module";
  }
  if (code === "ERR_MODULE_NOT_FOUND") {
    return "Install the package that it imports where the module lies (`npm install millrace` for defineTask), or correct the path";
  }
  return "Correct the module";
}
