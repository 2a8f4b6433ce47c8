import { createHash } from "node:crypto";
import { readdirSync, statSync } from "node:fs";
import path from "node:path";
import type { TaskChoice } from "../evaluate/check-tasks.ts";
import { describeProgram } from "../records/origin.ts";

/** Hash of everything that a step's result depends on; a changed input, setting, machine or build gives another. */
export function fingerprintOf(inputs: Readonly<Record<string, unknown>>): string {
  return addressOf({ ...describeProgram(), ...inputs });
}

/** Hash of inputs alone, for what every machine and build makes alike. */
export function addressOf(inputs: Readonly<Record<string, unknown>>): string {
  return createHash("sha256").update(JSON.stringify(inputs)).digest("hex").slice(0, 16);
}

/** Names, sizes and change times of a model's files: cheap, and enough to notice that a model was replaced. */
export function describeFiles(modelPath: string): string[] {
  const stat = statSync(modelPath);
  if (!stat.isDirectory()) return [`${path.basename(modelPath)} ${stat.size} ${stat.mtimeMs}`];
  return readdirSync(modelPath)
    .sort()
    .flatMap((name) => {
      const entry = statSync(path.join(modelPath, name));
      return entry.isFile() ? [`${name} ${entry.size} ${entry.mtimeMs}`] : [];
    });
}

/** What answers to tasks depend on besides the model: the tasks, their settings, and what the files of them hold. */
export function describeTasks(
  { tasks, limits, splits, numFewshot }: TaskChoice,
  taskFiles: Readonly<Record<string, string>>,
): Record<string, unknown> {
  return {
    tasks,
    limits: [limits.forAll, ...limits.byTask],
    splits: [splits.forAll, ...splits.byTask],
    shots: [numFewshot.forAll, ...numFewshot.byTask],
    taskFiles,
  };
}
