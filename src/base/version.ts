import { readFileSync } from "node:fs";

/** The package's version, from its package.json two folders up (src/base and dist/base alike). */
export const version: string = readVersion();

function readVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  return (manifest as { version: string }).version;
}
