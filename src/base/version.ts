import { readFileSync } from "node:fs";
import { packagePath } from "./package-folder.ts";

/** The package's version, from its package.json. */
export const version: string = readVersion();

function readVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(packagePath("package.json"), "utf8"));
  return (manifest as { version: string }).version;
}
