import type { AccuracyRow, UnpairedDocuments } from "../records/comparison.ts";
import type { ReportTable } from "./report-table.ts";

/** A p-value below this counts as a difference; above it the difference is undetermined. */
const significance = 0.05;

export type AccuracyVerdict = "worse" | "better" | "undetermined" | "too few documents";

/** What a row shows: McNemar's test where answers are right or wrong, else whether the interval leaves out 1. */
export function accuracyVerdict({
  pValue,
  flips,
  recoveryLow: low,
  recoveryHigh: high,
}: AccuracyRow): AccuracyVerdict {
  if (flips !== null && pValue !== null) {
    if (pValue >= significance) return "undetermined";
    return flips.gained.length > flips.lost.length ? "better" : "worse";
  }
  if (low === null || high === null) return "too few documents";
  if (high < 1) return "worse";
  return low > 1 ? "better" : "undetermined";
}

/** Every metric of both models with recovery, interval, flips and verdict. */
export function accuracyTable(
  rows: readonly AccuracyRow[],
  unpaired: readonly UnpairedDocuments[],
): ReportTable {
  return {
    title: "Accuracy",
    captions: [
      ...unpairedNotes(unpaired),
      "Same documents for both. Recovery = compressed / base (inverted where lower is better) with a 95 % paired bootstrap interval.",
      "Flips: answers that the base got right and the compressed model wrong (right → wrong), and the reverse; comparison.json names the documents under accuracy[].flips. p is McNemar's exact test on them; at 0.05 and above the difference is undetermined. Perplexities have no right and wrong; there the interval decides.",
    ],
    header: [
      "task",
      "metric",
      "documents",
      "base",
      "compressed",
      "recovery",
      "right → wrong",
      "wrong → right",
      "verdict",
    ],
    textColumns: [0, 1, 8],
    rows: rows.map((row) => [
      row.task,
      `${row.metric}\u00a0${row.higherIsBetter ? "↑" : "↓"}`,
      String(row.numDocuments),
      withError(row.base, row.baseStderr),
      withError(row.compressed, row.compressedStderr),
      recoveryText(row),
      row.flips === null ? "–" : String(row.flips.lost.length),
      row.flips === null ? "–" : String(row.flips.gained.length),
      `${accuracyVerdict(row)}${row.pValue === null ? "" : ` (p\u00a0=\u00a0${pText(row.pValue)})`}`,
    ]),
  };
}

/** One line for each side of a task that has documents without a counterpart. */
export function unpairedNotes(unpaired: readonly UnpairedDocuments[]): string[] {
  const note = (task: string, side: string, ids: readonly number[]): string[] => {
    if (ids.length === 0) return [];
    const named = ids.slice(0, 10).join(", ");
    const rest = ids.length > 10 ? ` and ${ids.length - 10} more` : "";
    const documents = ids.length === 1 ? "document is" : "documents are";
    return [
      `${task}: ${ids.length} ${documents} only in ${side} and count in no figure (doc_id ${named}${rest}).`,
    ];
  };
  return unpaired.flatMap(({ task, onlyBase, onlyCompressed }) => [
    ...note(task, "the base", onlyBase),
    ...note(task, "the compressed model", onlyCompressed),
  ]);
}

function withError(value: number, stderr: number | null): string {
  return stderr === null ? value.toPrecision(4) : `${value.toFixed(4)} ± ${stderr.toFixed(4)}`;
}

function recoveryText(row: AccuracyRow): string {
  if (row.recovery === null) return "–";
  if (row.recoveryLow === null || row.recoveryHigh === null) return `${percent(row.recovery)} %`;
  return `${percent(row.recovery)} % (${percent(row.recoveryLow)} to ${percent(row.recoveryHigh)})`;
}

function percent(share: number): string {
  return (100 * share).toFixed(1);
}

function pText(pValue: number): string {
  return pValue >= significance ? pValue.toFixed(3) : pValue.toPrecision(2);
}
