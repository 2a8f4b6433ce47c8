import { type Progress, silentProgress } from "../../base/progress.ts";
import { workThrough } from "../requests/request-pool.ts";
import { badRow, isTexts, type Row } from "../row-reader.ts";
import { mean, standardError, sum } from "../statistics.ts";
import type { Judge } from "./judge.ts";
import {
  type Agreement,
  type AnswerPair,
  agreementOf,
  type JudgedPair,
  type PairJudge,
  type Preference,
} from "./preference.ts";
import { type RagRow, type RagTools, ragMetrics } from "./rag-metrics.ts";

export interface RagRun extends Omit<RagTools, "judge"> {
  readonly metrics: readonly string[];
  /** The judge of each repeat, from 0: one that draws answers draws others then. */
  readonly judgeOf: (repeat: number) => Judge;
  /** How often each row is judged: a judge that draws answers differs from itself. */
  readonly repeats: number;
  /** Rows in flight. */
  readonly concurrency: number;
  readonly progress?: Progress;
}

export interface RagScore {
  readonly metric: string;
  /** Mean over the rows that have a value; null without any. */
  readonly value: number | null;
  readonly standardError: number | null;
  readonly numScored: number;
  /** Rows without a value; they count in no figure. */
  readonly numUndecided: number;
  /** Mean deviation of a row between repeats: how far the judge is from itself. Null for one repeat. */
  readonly judgeDeviation: number | null;
}

export interface RagRecord {
  readonly kind: "rag";
  readonly numRows: number;
  readonly repeats: number;
  readonly scores: readonly RagScore[];
  /** By row, then metric, then repeat. */
  readonly rows: readonly Readonly<Record<string, readonly (number | null)[]>>[];
}

/** Judges every row by every metric. A row that the judge cannot decide is counted as such and never ends the run. */
export async function runRag(rows: readonly RagRow[], run: RagRun): Promise<RagRecord> {
  const { metrics, repeats } = run;
  const judged = await judgeAll(rows, run, async (row) => {
    const values: Record<string, (number | null)[]> = {};
    for (const metric of metrics) {
      values[metric] = [];
      for (let repeat = 0; repeat < repeats; repeat += 1)
        values[metric].push(await ragMetrics[metric]!(row, { ...run, judge: run.judgeOf(repeat) }));
    }
    return values;
  });
  const scores = metrics.map((metric) =>
    summarize(
      metric,
      judged.map((row) => row[metric]!),
    ),
  );
  return { kind: "rag", numRows: rows.length, repeats, scores, rows: judged };
}

function summarize(metric: string, rows: readonly (readonly (number | null)[])[]): RagScore {
  const decided = rows
    .map((values) => values.filter((value) => value !== null))
    .filter(({ length }) => length > 0);
  const means = decided.map(mean);
  const repeated = decided.filter(({ length }) => length > 1);
  return {
    metric,
    value: means.length === 0 ? null : mean(means),
    standardError: standardError(means),
    numScored: means.length,
    numUndecided: rows.length - means.length,
    judgeDeviation: repeated.length === 0 ? null : mean(repeated.map(deviationOf)),
  };
}

function deviationOf(values: readonly number[]): number {
  const center = mean(values);
  return Math.sqrt(sum(values.map((value) => (value - center) ** 2)) / (values.length - 1));
}

export interface PreferenceRecord {
  readonly kind: "preferences";
  readonly numPairs: number;
  readonly numUndecided: number;
  /** Share of judged pairs in which the judge chose a place instead of an answer. */
  readonly placeBias: number | null;
  /** With people's labels, of the pairs that have both; null where none has. */
  readonly agreement: Agreement | null;
  /** The same of those where both sides prefer an answer: chance gives a half. Null where there is none. */
  readonly agreementWithoutTies: Agreement | null;
  readonly pairs: readonly (JudgedPair | null)[];
}

/** Judges pairs of answers and says how far the judge agrees with people. */
export async function runPreferences(
  pairs: readonly AnswerPair[],
  run: Pick<RagRun, "signal" | "concurrency" | "progress"> & { readonly judge: PairJudge },
): Promise<PreferenceRecord> {
  const judged = await judgeAll(pairs, run, (pair) => run.judge(pair, run.signal));
  const decided = judged.filter((each) => each !== null);
  const labelled = pairs.flatMap(({ label, question }, i): Labelled[] => {
    const own = judged[i] ?? null;
    return label === undefined || own === null ? [] : [{ question, both: [label, own.preference] }];
  });
  return {
    kind: "preferences",
    numPairs: pairs.length,
    numUndecided: judged.length - decided.length,
    placeBias: decided.length === 0 ? null : mean(decided.map(({ isBiased }) => Number(isBiased))),
    agreement: agreementAmong(labelled),
    agreementWithoutTies: agreementAmong(labelled.filter(({ both }) => !both.includes("tie"))),
    pairs: judged,
  };
}

interface Labelled {
  readonly question: string;
  readonly both: readonly [people: Preference, judge: Preference];
}

function agreementAmong(labelled: readonly Labelled[]): Agreement | null {
  if (labelled.length === 0) return null;
  return agreementOf(
    labelled.map(({ both }) => both),
    labelled.map(({ question }) => question),
  );
}

async function judgeAll<T, R>(
  items: readonly T[],
  { concurrency, progress = silentProgress, signal }: Pick<RagRun, "concurrency" | "progress" | "signal">,
  judge: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  let done = 0;
  progress.start("judge", items.length);
  await workThrough([...items.entries()], { concurrency, signal }, async ([at, item]) => {
    results[at] = await judge(item);
    done += 1;
    progress.update(done);
  });
  progress.finish(`judged ${items.length} rows`);
  return results;
}

/** {question, answer, contexts, reference?}. Throws `invalid_data_file`. */
export function readRagRow(row: Row, where: string): RagRow {
  const { question, answer, contexts, reference } = row;
  const isWhole = typeof question === "string" && typeof answer === "string" && isTexts(contexts);
  if (isWhole && (reference === undefined || typeof reference === "string"))
    return { question, answer, contexts, reference };
  throw badRow(where, "is no answer to judge", "{question, answer, contexts: [texts], reference?}");
}

/**
 * {question, first, second, reference?, label?}, the label being first, second or tie; or RAGChecker's rows, whose
 * `overall_label` is below 0 where the first answer is better. Throws `invalid_data_file`.
 */
export function readAnswerPair(row: Row, where: string): AnswerPair {
  const first = row["first"] ?? (row["model1"] as Row | undefined)?.["response"];
  const second = row["second"] ?? (row["model2"] as Row | undefined)?.["response"];
  const question = row["question"] ?? row["query"];
  const reference = row["reference"] ?? row["gt_answer"];
  const label = labelOf(row["label"] ?? row["overall_label"]);
  if (
    typeof question !== "string" ||
    typeof first !== "string" ||
    typeof second !== "string" ||
    label === null ||
    (reference !== undefined && typeof reference !== "string")
  ) {
    throw badRow(
      where,
      "is no pair of answers",
      "{question, first, second, reference?, label?: first, second or tie}",
    );
  }
  return { question, first, second, reference, label };
}

function labelOf(value: unknown): Preference | undefined | null {
  if (value === undefined) return undefined;
  if (typeof value === "number") return value === 0 ? "tie" : value < 0 ? "first" : "second";
  return value === "first" || value === "second" || value === "tie" ? value : null;
}
