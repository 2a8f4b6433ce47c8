import type { VersusRecord, VersusRow } from "../records/versus.ts";
import { mostRounds } from "./bench-settings.ts";
import { promptFormText } from "./load-tables.ts";
import { formatTable } from "./terminal.ts";

const labels: Readonly<Record<VersusRow["metric"], string>> = {
  outputTokensPerSecond: "output tokens/s",
  ttftMs: "mean TTFT ms",
  tpotMs: "mean TPOT ms",
  e2eMs: "mean e2e ms",
};

/** Two servers side by side for people. */
export function versusTable(record: VersusRecord): string {
  const { a, b, load, workload, margin, effect, rows, faults, endedEarly } = record;
  const header = ["", "A", "B", "B / A", "95 % interval", "noise floor", "verdict on B", "rounds", "needed"];
  const table = formatTable(header, rows.map(rowOf));
  const notes = [
    `A: ${a.model} at ${a.url}. B: ${b.model} at ${b.url}. Load: ${load}. Both were asked with ${promptFormText(workload)}.`,
    rows.length === 0
      ? "No verdict: fewer than two rounds count."
      : `Equivalent: the whole interval is within ±${percent(margin)}. Needed: rounds that find a difference of ${percent(effect)} in nine runs of ten.`,
    ...(endedEarly === null
      ? []
      : [
          `${endedEarly === "interrupted" ? "Interrupted" : "Ended by a fault"} before its last round: only whole rounds count.`,
        ]),
    ...faults.map((fault) => `Left out: ${fault}.`),
    ...undecided(rows, effect),
  ];
  return [table, ...notes].join("\n");
}

function rowOf(row: VersusRow): string[] {
  const digits = row.a < 10 ? 2 : 1;
  return [
    labels[row.metric],
    row.a.toFixed(digits),
    row.b.toFixed(digits),
    row.ratio.toFixed(3),
    row.ratioLow === null || row.ratioHigh === null
      ? "–"
      : `${row.ratioLow.toFixed(3)} to ${row.ratioHigh.toFixed(3)}`,
    `±${percent(row.noiseFloor)}`,
    row.verdict,
    String(row.numRounds),
    row.roundsNeeded > mostRounds ? `> ${mostRounds}` : String(row.roundsNeeded),
  ];
}

function undecided(rows: readonly VersusRow[], effect: number): string[] {
  const short = rows.filter(
    ({ verdict, numRounds, roundsNeeded }) => verdict === "undetermined" && roundsNeeded > numRounds,
  );
  if (short.length === 0) return [];
  const most = Math.max(...short.map(({ roundsNeeded }) => roundsNeeded));
  return [
    most > mostRounds
      ? `A difference of ${percent(effect)} is not to be found here where it is undetermined: it would take more than ${mostRounds} rounds. Use a quieter machine, longer rounds (--min-seconds, --requests-per-seat or --num-requests), or a larger --detect.`
      : `To find a difference of ${percent(effect)} where it is undetermined, run with --max-rounds ${most} or more.`,
  ];
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}
