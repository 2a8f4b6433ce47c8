import { existsSync, readFileSync } from "node:fs";

/** Reads JSON, or null when the file is not there or is not JSON (then the step runs again). */
export function readJsonFile(file: string): unknown {
  if (!existsSync(file)) return null;
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}
