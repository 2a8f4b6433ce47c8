import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { addonPath } from "./addon-path.ts";
import { packagePath } from "./package-folder.ts";

/** The program's code: dist/ where it is built, src/ where Node runs the sources. */
const codeFolder = fileURLToPath(new URL("..", import.meta.url));
/** Names the exact versions of the dependencies. */
const manifest = packagePath("package.json");

let known: string | undefined;

/**
 * Which build of the program runs: a hash of its code, its compiled kernels and its package.json, so that two builds
 * of one version differ. Read once, about a megabyte each (10 ms).
 */
export function buildId(): string {
  known ??= hashBuild(codeFolder, [addonPath, manifest]);
  return known;
}

/** Hash of the code below a folder, names and contents, and of further files where they are there. */
export function hashBuild(folder: string, others: readonly string[]): string {
  const hash = createHash("sha256");
  const add = (name: string, file: string): void => {
    const content = readFileSync(file);
    hash.update(`${name} ${content.length}\n`).update(content);
  };
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" });
  for (const name of names.filter(isCode).sort())
    add(name.replaceAll(path.sep, "/"), path.join(folder, name));
  for (const file of others.filter((name) => existsSync(name))) add(path.basename(file), file);
  return hash.digest("hex").slice(0, 12);
}

/**
 * Tests are no part of the program, nor is what lies in hidden folders (what the compiler keeps for itself); the bundle
 * is the same code once more.
 */
function isCode(name: string): boolean {
  const isOther = name
    .split(path.sep)
    .some((part, depth) => part.startsWith(".") || (depth === 0 && part === "bundle"));
  return !isOther && /\.[jt]s$/.test(name) && !/\.(test|d)\.[jt]s$/.test(name);
}
