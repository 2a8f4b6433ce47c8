import { createHash } from "node:crypto";
import { readdirSync, statSync } from "node:fs";
import path from "node:path";
import { version } from "../base/version.ts";

/** Hash of everything that a step's result depends on; a changed input, setting or version gives another. */
export function fingerprintOf(inputs: Readonly<Record<string, unknown>>): string {
  return createHash("sha256")
    .update(JSON.stringify({ version, ...inputs }))
    .digest("hex")
    .slice(0, 16);
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

/** The same of every file below a folder of task data; nothing where there is none. */
export function describeData(dataDir: string | null): string[] {
  if (dataDir === null) return [];
  return readdirSync(dataDir, { recursive: true, encoding: "utf8" })
    .sort()
    .flatMap((name) => {
      const entry = statSync(path.join(dataDir, name));
      return entry.isFile() ? [`${name} ${entry.size} ${entry.mtimeMs}`] : [];
    });
}
