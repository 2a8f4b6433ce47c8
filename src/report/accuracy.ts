import type { AccuracyRow, UnpairedDocuments } from "../records/comparison.ts";
import type { ReportTable } from "./report-table.ts";

/** A p-value below this counts as a difference; above it the difference is undetermined. */
const significance = 0.05;

/**
 * A recovery whose whole interval lies this near to 1 counts as equal: 99 % of the reference's accuracy is what MLPerf
 * Inference asks of quantised models (Reddi et al. 2020).
 */
const equivalence = 0.01;

export type AccuracyVerdict = "worse" | "better" | "equivalent" | "undetermined";

/**
 * What a row shows: that any difference is of no importance, where the recovery's interval lies inside 99 to 101 %; else
 * McNemar's test where answers are right or wrong, or whether the interval leaves out 1.
 */
export function accuracyVerdict({
  pValue,
  numFlips,
  recoveryLow: low,
  recoveryHigh: high,
}: AccuracyRow): AccuracyVerdict {
  if (low !== null && high !== null && low >= 1 - equivalence && high <= 1 + equivalence) return "equivalent";
  if (numFlips !== null && pValue !== null) {
    if (pValue >= significance) return "undetermined";
    return numFlips.gained > numFlips.lost ? "better" : "worse";
  }
  if (low === null || high === null) return "undetermined";
  if (high < 1) return "worse";
  return low > 1 ? "better" : "undetermined";
}

/** As many rows of a group's tasks stand open; MMLU has 57. */
const maxOpenMembers = 12;

/** Every metric of both models with recovery, difference, intervals, flips and verdict; groups stand before their tasks. */
export function accuracyTable(
  rows: readonly AccuracyRow[],
  unpaired: readonly UnpairedDocuments[],
  title = "Accuracy",
): ReportTable {
  const members = rows.filter(
    ({ task, parent }) => parent !== null && rows.every((each) => each.parent !== task),
  );
  const folded = members.length > maxOpenMembers ? members : [];
  return {
    title,
    captions: [
      ...unpairedNotes(unpaired),
      "Same documents for both. Recovery = compressed / base (inverted where lower is better) and difference = compressed − base, with 95 % paired intervals: by the score test where answers are right or wrong (Tango 1998; Tang, Tang and Chan 2003), which stay wide where hardly an answer flips among few documents; else by resampling documents, and none with fewer than 10 documents whose scores differ.",
      "Flips: answers that the base got right and the compressed model wrong (right → wrong), and the reverse; comparison.json names the documents under accuracy[].flips. A difference is of no importance (equivalent) where the recovery's whole interval lies between 99 and 101 %. Else p, McNemar's exact test on the flips, decides: at 0.05 and above this run cannot tell (undetermined). Perplexities have no right and wrong; there the interval decides.",
      "Detectable: the smallest true difference that so many documents would show in 4 runs of 5.",
    ],
    header: [
      "task",
      "metric",
      "documents",
      "base",
      "compressed",
      "recovery",
      "difference",
      "detectable",
      "right → wrong",
      "wrong → right",
      "verdict",
    ],
    textColumns: [0, 1, 10],
    rows: rows.filter((row) => !folded.includes(row)).map(cellsOf),
    ...(folded.length === 0
      ? {}
      : {
          folded: { summary: `${folded.length} rows of single tasks of groups`, rows: folded.map(cellsOf) },
        }),
  };
}

function cellsOf(row: AccuracyRow): string[] {
  return [
    row.task,
    `${row.metric}\u00a0${row.higherIsBetter ? "↑" : "↓"}`,
    String(row.numDocuments),
    withError(row.base, row.baseStderr),
    withError(row.compressed, row.compressedStderr),
    recoveryText(row),
    differenceText(row),
    row.detectable === null ? "–" : row.detectable.toPrecision(2),
    row.numFlips === null ? "–" : String(row.numFlips.lost),
    row.numFlips === null ? "–" : String(row.numFlips.gained),
    `${accuracyVerdict(row)}${row.pValue === null ? "" : ` (p\u00a0=\u00a0${pText(row.pValue)})`}`,
  ];
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

function differenceText({ difference, differenceLow: low, differenceHigh: high }: AccuracyRow): string {
  const signed = (value: number): string => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(4)}`;
  return low === null || high === null
    ? signed(difference)
    : `${signed(difference)} (${signed(low)} to ${signed(high)})`;
}

function percent(share: number): string {
  return (100 * share).toFixed(1);
}

function pText(pValue: number): string {
  return pValue >= significance ? pValue.toFixed(3) : pValue.toPrecision(2);
}
