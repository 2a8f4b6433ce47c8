import { existsSync } from "node:fs";
import path from "node:path";
import { isMillraceError, MillraceError, messageOf } from "../../base/errors.ts";
import { readLines } from "../../base/read-lines.ts";
import { countText } from "../../bench/stage-text.ts";
import { recordsFile } from "../../bench/sweep.ts";
import {
  type BenchRecord,
  type BenchStage,
  type RateStage,
  type RequestRecord,
  requestRecordSchema,
} from "../../records/bench.ts";

type Stage = BenchStage | RateStage;

/**
 * All requests of a stage as its file beside the record holds them, good or not; null where there is none. Throws
 * `invalid_data_file` for a file that was cut off or has a fault.
 */
export function readRequests(folder: string, record: BenchRecord, stage: Stage): RequestRecord[] | null {
  const name = recordsFile(stage);
  const file = path.join(folder, name);
  const last = [...record.stages, ...record.rates].findLast((each) => recordsFile(each) === name);
  // Of stages of one name the last one's requests were written over those of the others.
  if (last !== stage || !existsSync(file)) return null;
  const requests: RequestRecord[] = [];
  let number = 0;
  for (const line of readLines(file)) {
    number += 1;
    if (line !== "") requests.push(parseRequest(line, `${file}, line ${number},`));
  }
  if (requests.length === stage.numRequests) return requests;
  throw damaged(
    `${file} has ${countText(requests.length, "request")}, and the record beside it says that the load had ${stage.numRequests}`,
  );
}

/** Whether no file of a load test's requests has a fault; those that are gone have none. */
export function areRequestsWhole(folder: string, record: BenchRecord): boolean {
  try {
    for (const stage of [...record.stages, ...record.rates]) readRequests(folder, record, stage);
    return true;
  } catch (error) {
    if (isMillraceError(error)) return false;
    throw error;
  }
}

function parseRequest(line: string, place: string): RequestRecord {
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch (error) {
    throw damaged(`${place} is no JSON: ${messageOf(error)}`);
  }
  const { data, error } = requestRecordSchema.safeParse(json);
  if (data !== undefined) return data;
  const { path: where, message } = error.issues[0]!;
  throw damaged(`${place} is no record of a request: ${where.join(".") || "content"}: ${message}`);
}

function damaged(what: string): MillraceError {
  return new MillraceError(
    "invalid_data_file",
    `${what}. Put the whole file back, measure again, or remove it: then the record's own figures are compared.`,
  );
}
