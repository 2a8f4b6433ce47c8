import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { z } from "zod";
import { MillraceError } from "../base/errors.ts";
import {
  type EvaluationRecord,
  type EvaluationSample,
  evaluationResultsSchema,
  evaluationSampleSchema,
} from "../records/evaluation.ts";
import { parseJsonLines } from "./row-reader.ts";

export interface EvaluationPaths {
  readonly results: string;
  /** One file of JSON lines for each task. */
  readonly samples: readonly string[];
}

/** Writes `results_<time>.json` and `samples_<task>_<time>.jsonl` into a folder, as lm-eval names them. */
export function writeEvaluation(folder: string, record: EvaluationRecord): EvaluationPaths {
  const stamp = new Date(record.date * 1000).toISOString().replaceAll(":", "-").replace("Z", "");
  const { samples, ...results } = record;
  const resultsPath = path.join(folder, `results_${stamp}.json`);
  try {
    mkdirSync(folder, { recursive: true });
    const samplePaths = Object.entries(samples).map(([task, rows]) => {
      const file = path.join(folder, `samples_${task}_${stamp}.jsonl`);
      writeFileSync(file, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
      return file;
    });
    writeFileSync(resultsPath, `${JSON.stringify(results, null, 2)}\n`);
    return { results: resultsPath, samples: samplePaths };
  } catch (error) {
    throw new MillraceError(
      "disk_full",
      `The evaluation could not be written to ${folder}. A writable folder with free space is needed. Choose another --out.`,
      { param: "--out", cause: error },
    );
  }
}

/**
 * Reads an evaluation back: a results file, or a folder of which the newest results file is taken.
 * Throws `file_not_found` or `invalid_data_file`.
 */
export function readEvaluation(source: string): EvaluationRecord {
  const file = findResults(source);
  const results = parseWith(evaluationResultsSchema, readJson(file), file);
  const stamp = /results_(.+)\.json$/.exec(path.basename(file))?.[1] ?? "";
  const samples: Record<string, EvaluationSample[]> = {};
  for (const task of Object.keys(results.results)) {
    const sampleFile = path.join(path.dirname(file), `samples_${task}_${stamp}.jsonl`);
    const rows = parseJsonLines(readText(sampleFile), sampleFile);
    samples[task] = rows.map((row, index) =>
      parseWith(evaluationSampleSchema, row, `${sampleFile}, row ${index + 1},`),
    );
  }
  return { ...results, samples };
}

function findResults(source: string): string {
  if (!existsSync(source)) throw missing(source);
  if (!statSync(source).isDirectory()) return source;
  const newest = readdirSync(source)
    .filter((name) => /^results_.+\.json$/.test(name))
    .toSorted()
    .at(-1);
  if (newest === undefined) throw missing(path.join(source, "results_*.json"));
  return path.join(source, newest);
}

function readText(file: string): string {
  if (!existsSync(file)) throw missing(file);
  return readFileSync(file, "utf8");
}

function readJson(file: string): unknown {
  try {
    return JSON.parse(readText(file));
  } catch (error) {
    if (error instanceof MillraceError) throw error;
    throw new MillraceError(
      "invalid_data_file",
      `${file} is not JSON. It is written by \`millrace evaluate\`; run that again.`,
      {
        cause: error,
      },
    );
  }
}

function parseWith<T>(schema: z.ZodType<T>, value: unknown, where: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new MillraceError(
    "invalid_data_file",
    `${where} is not an evaluation of Millrace: ${issue?.path.join(".") ?? ""}: ${issue?.message ?? ""}. Run \`millrace evaluate\` again.`,
  );
}

function missing(file: string): MillraceError {
  return new MillraceError(
    "file_not_found",
    `There is no ${file}. Give a folder or a results file that \`millrace evaluate\` wrote.`,
  );
}
