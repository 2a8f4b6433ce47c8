import { existsSync } from "node:fs";
import path from "node:path";
import { MillraceError } from "../../base/errors.ts";
import { type ComparisonRecord, comparisonSchema } from "../../records/comparison.ts";
import { readJsonFile } from "../json-files.ts";
import { faultInRun } from "./fault-in-run.ts";

/** What the record of a flow is called in its folder. */
export const comparisonFile = "comparison.json";

/**
 * The record of a finished flow. Throws `invalid_data_file` for one with a fault, `file_not_found` where there is none.
 *
 * @param advice what to give in place of a folder without one
 */
export function readComparison(folder: string, advice: string): ComparisonRecord {
  const file = path.join(folder, comparisonFile);
  const record = comparisonSchema.safeParse(readJsonFile(file)).data;
  if (record !== undefined) return record;
  const fault = existsSync(file) ? faultInRun(file) : null;
  throw fault ?? new MillraceError("file_not_found", `${folder} has no ${comparisonFile}. ${advice}`);
}
