import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { packagePath } from "../base/package-folder.ts";

const distFolder = packagePath("dist");

/** In dist/: the command line and its threads in few files, as scripts/bundle.mjs makes them. */
export const bundleName = "bundle";

/** In that folder: `timeOfBuild()` of what went into it. */
export const bundleTimeName = "build-time";

/** The bundle's first file, as one imports it; undefined where there is no bundle, or one of another build than dist/. */
export function freshBundle(dist: string = distFolder): string | undefined {
  const folder = path.join(dist, bundleName);
  const timeFile = path.join(folder, bundleTimeName);
  if (!existsSync(timeFile)) return undefined;
  const time = timeOfBuild(dist);
  const isFresh = time === undefined || time === Number(readFileSync(timeFile, "utf8"));
  return isFresh ? pathToFileURL(path.join(folder, "run.js")).href : undefined;
}

/**
 * When the compiler last wrote something, in whole seconds, as archives keep no more. Undefined in an installed
 * package, which comes without the compiler's own files.
 */
export function timeOfBuild(dist: string = distFolder): number | undefined {
  const folder = path.join(dist, ".tsbuildinfo");
  if (!existsSync(folder)) return undefined;
  const names = readdirSync(folder).filter((name) => name !== "tests.json");
  return Math.max(...names.map((name) => Math.floor(statSync(path.join(folder, name)).mtimeMs / 1000)));
}
