import path from "node:path";
import { writePiecesAtomically } from "../base/write-file.ts";
import type { BenchStage, RateStage, RequestRecord } from "../records/bench.ts";
import { recordsFile } from "./sweep.ts";

/** Writes the raw records of a stage into a folder, a line each. Throws `disk_full` or `output_unwritable`. */
export function writeRequests(
  folder: string,
  stage: BenchStage | RateStage,
  records: readonly RequestRecord[],
): void {
  writePiecesAtomically(path.join(folder, recordsFile(stage)), linesOf(records));
}

function* linesOf(records: readonly RequestRecord[]): Generator<string> {
  for (const record of records) yield `${JSON.stringify(record)}\n`;
}
