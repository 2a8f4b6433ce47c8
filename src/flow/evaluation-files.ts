import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { MillraceError } from "../base/errors.ts";
import { writeFileAtomically } from "../base/write-file.ts";
import { readSampleLine, sampleLine } from "../evaluate/sample-line.ts";
import {
  type EvaluationRecord,
  type EvaluationSample,
  evaluationResultsSchema,
} from "../records/evaluation.ts";
import { readJsonFile } from "./json-files.ts";

const resultsName = /^results_(.+)\.json$/;

/**
 * Writes an evaluation as lm-eval does: `results_TIME.json`, and `samples_TASK_TIME.jsonl` for each task. The results
 * come last, so that their presence says that the samples are whole. Gives the path of the results.
 */
export function writeEvaluation(folder: string, record: EvaluationRecord, fingerprint = ""): string {
  const { samples, ...results } = record;
  const time = fileTime(record.date);
  for (const [task, rows] of Object.entries(samples)) {
    const lines = rows.map((row) => `${JSON.stringify(sampleLine(row))}\n`).join("");
    writeFileAtomically(path.join(folder, `samples_${task}_${time}.jsonl`), lines);
  }
  const file = path.join(folder, `results_${time}.json`);
  writeFileAtomically(file, `${JSON.stringify({ ...results, fingerprint }, null, 2)}\n`);
  return file;
}

/** The newest whole evaluation of a fingerprint in a folder, with the path of its results; null where there is none. */
export function findEvaluation(
  folder: string,
  fingerprint: string,
): { readonly file: string; readonly record: EvaluationRecord } | null {
  for (const file of resultsFiles(folder)) {
    const json = readJsonFile(file);
    if ((json as { fingerprint?: unknown } | null)?.fingerprint !== fingerprint) continue;
    const record = readResults(file, json);
    if (record !== null) return { file, record };
  }
  return null;
}

/**
 * An evaluation of Millrace or lm-eval: a results file, or a folder whose newest one is taken, or a folder with the
 * folder of one model in it. Throws `file_not_found` where there is no whole one.
 */
export function readEvaluation(place: string): EvaluationRecord {
  const candidates = existsSync(place) && statSync(place).isDirectory() ? resultsBelow(place) : [place];
  for (const file of candidates) {
    const record = existsSync(file) ? readResults(file, readJsonFile(file)) : null;
    if (record !== null) return record;
  }
  throw new MillraceError(
    "file_not_found",
    `${place} has no whole evaluation: a results_TIME.json and the samples_TASK_TIME.jsonl of each of its tasks, as millrace evaluate --out and lm-eval --output_path --log_samples write them. Give such a folder, or the results file itself.`,
  );
}

function resultsBelow(folder: string): string[] {
  const own = resultsFiles(folder);
  if (own.length > 0) return own;
  const inner = readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => path.join(folder, entry.name))
    .filter((each) => resultsFiles(each).length > 0);
  if (inner.length <= 1) return inner.flatMap(resultsFiles);
  throw new MillraceError(
    "file_not_found",
    `${folder} has evaluations of ${inner.length} models: ${inner.join(", ")}. Give the folder of one.`,
  );
}

/** Newest first. */
function resultsFiles(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => resultsName.test(name))
    .sort()
    .reverse()
    .map((name) => path.join(folder, name));
}

/** A record with its samples; null when a part is missing, damaged or cut. */
function readResults(file: string, json: unknown): EvaluationRecord | null {
  const results = evaluationResultsSchema.safeParse(json).data;
  const time = resultsName.exec(path.basename(file))?.[1];
  if (results === undefined || time === undefined) return null;
  const samples: Record<string, EvaluationSample[]> = {};
  for (const [task, { effective }] of Object.entries(results["n-samples"])) {
    const rows = readSamples(
      path.join(path.dirname(file), `samples_${task}_${time}.jsonl`),
      results.configs[task]?.output_type ?? "",
    );
    if (rows === null || new Set(rows.map((row) => row.doc_id)).size !== effective) return null;
    samples[task] = rows;
  }
  return { ...results, samples };
}

function readSamples(file: string, outputType: string): EvaluationSample[] | null {
  if (!existsSync(file)) return null;
  const rows: EvaluationSample[] = [];
  for (const line of readFileSync(file, "utf8").split("\n")) {
    if (line === "") continue;
    const sample = parseSample(line, outputType);
    if (sample === null) return null;
    rows.push(sample);
  }
  return rows;
}

function parseSample(line: string, outputType: string): EvaluationSample | null {
  try {
    return readSampleLine(JSON.parse(line), outputType);
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

/** Python's `datetime.isoformat()` with hyphens for colons, in UTC. */
function fileTime(secondsSince1970: number): string {
  return `${new Date(secondsSince1970 * 1000).toISOString().replaceAll(":", "-").slice(0, -1)}000`;
}
