import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { writeFileAtomically } from "../base/write-file.ts";
import { type EvaluationRecord, evaluationRecordSchema } from "../records/evaluation.ts";

const evaluationName = "evaluation.json";

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

/**
 * Writes an evaluation as lm-eval's users expect it: results in one JSON file, the samples of each task in JSON lines
 * beside it. The results come last, so that their presence says that the samples are whole.
 */
export function writeEvaluation(folder: string, record: EvaluationRecord, fingerprint = ""): void {
  const { samples, ...results } = record;
  for (const [task, rows] of Object.entries(samples)) {
    const lines = rows.map((row) => `${JSON.stringify(row)}\n`).join("");
    writeFileAtomically(path.join(folder, `samples_${task}.jsonl`), lines);
  }
  writeFileAtomically(
    path.join(folder, evaluationName),
    `${JSON.stringify({ fingerprint, ...results }, null, 2)}\n`,
  );
}

/** An evaluation with its samples, or null when it is missing, damaged or of another fingerprint. */
export function readEvaluation(folder: string, fingerprint: string | null): EvaluationRecord | null {
  const json = readJsonFile(path.join(folder, evaluationName));
  if (typeof json !== "object" || json === null) return null;
  if (fingerprint !== null && (json as { fingerprint?: unknown }).fingerprint !== fingerprint) return null;
  const { results, groups } = json as Partial<Record<"results" | "groups", Record<string, unknown>>>;
  const samples: Record<string, unknown[]> = {};
  for (const task of Object.keys(results ?? {}).filter((name) => !(name in (groups ?? {})))) {
    const file = path.join(folder, `samples_${task}.jsonl`);
    if (!existsSync(file)) return null;
    const rows = parseLines(readFileSync(file, "utf8"));
    if (rows === null) return null;
    samples[task] = rows;
  }
  const record = evaluationRecordSchema.safeParse({ ...json, samples }).data ?? null;
  return record !== null && isWhole(record) ? record : null;
}

/** Whether every document that the results speak of has its sample. */
function isWhole(record: EvaluationRecord): boolean {
  return Object.entries(record.samples).every(
    ([task, rows]) => record["n-samples"][task]?.effective === new Set(rows.map((row) => row.doc_id)).size,
  );
}

/** The values of JSON lines, or null when one is damaged. */
function parseLines(text: string): unknown[] | null {
  try {
    return text
      .split("\n")
      .filter((line) => line !== "")
      .map((line): unknown => JSON.parse(line));
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}
