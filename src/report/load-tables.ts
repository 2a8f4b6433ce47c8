import type { ComparisonRecord } from "../records/comparison.ts";
import type { GridCell, GridRow } from "../records/load-comparison.ts";
import { milliseconds, type ReportTable } from "./report-table.ts";

/** All variants at the same load, how they degrade, how many they carry, and which bounds they break. */
export function loadTables(record: ComparisonRecord): ReportTable[] {
  const { load } = record;
  const names = record.variants.map(({ name }) => name);
  return [
    concurrencyTable(record, names),
    violationTable(record, names),
    gridTable(names, load.equalConcurrency.rows, {
      title: "At equal concurrency",
      axis: "in flight",
      write: (at) => at.toFixed(Number.isInteger(at) ? 0 : 1),
      caption: "The levels are those of the run that got least far. Open loops count by what was in flight.",
    }),
    gridTable(names, load.equalRate.rows, {
      title: "At equal rate",
      axis: "requests/s",
      write: (at) => String(Number(at.toPrecision(3))),
      caption:
        "Open loops count by the rate that was asked for, closed loops by the rate that they reached, up to where more users gain nothing.",
    }),
    degradationTable(record, names),
  ].filter((table) => table !== null);
}

interface GridText {
  readonly title: string;
  readonly axis: string;
  readonly write: (at: number) => string;
  readonly caption: string;
}

function gridTable(names: readonly string[], rows: readonly GridRow[], text: GridText): ReportTable | null {
  if (rows.length === 0) return null;
  const figure = (cells: GridRow["cells"], read: (cell: GridCell) => number | null): string[] => {
    const base = cells[0] === null || cells[0] === undefined ? null : read(cells[0]);
    return cells.map((cell, index) => {
      const value = cell === null ? null : read(cell);
      if (value === null) return "–";
      const change = index === 0 || base === null ? "" : ` (${changeText(value, base)})`;
      return `${cell!.isInterpolated ? "~" : ""}${milliseconds(value)}${change}`;
    });
  };
  const metrics = [
    ["TTFT p50, ms", (cell: GridCell) => cell.ttftMs],
    ["TPOT p50, ms", (cell: GridCell) => cell.tpotMs],
    ["end to end p50, ms", (cell: GridCell) => cell.e2eMs],
    ["output tokens/s", (cell: GridCell) => cell.outputTokensPerSecond],
  ] as const;
  return {
    title: text.title,
    captions: [`${text.caption} ~ stands on a straight line between two levels that were measured.`],
    header: [text.axis, "metric", ...names],
    textColumns: [1],
    rows: metrics.flatMap(([label, read]) =>
      rows.map(({ at, cells }) => [text.write(at), label, ...figure(cells, read)]),
    ),
  };
}

/** Nothing is a multiple of 0: answers that came whole in one read have no time between tokens. */
function changeText(value: number, base: number): string {
  if (base === 0) return "–";
  const share = value / base - 1;
  return `${share < 0 ? "−" : "+"}${Math.abs(100 * share).toFixed(0)} %`;
}

function concurrencyTable({ load }: ComparisonRecord, names: readonly string[]): ReportTable | null {
  const { concurrency, slo } = load;
  const bounds = slo.map(({ text }) => text).join(", ");
  const row = (label: string, cells: readonly (string | null)[]): string[] | null =>
    cells.every((cell) => cell === null) ? null : [label, ...cells.map((cell) => cell ?? "–")];
  const rows = [
    row(
      "the KV cache holds, by arithmetic",
      concurrency.map(({ kvCapacity }) =>
        kvCapacity === null ? null : `${kvCapacity.byArithmetic} (of ${kvCapacity.poolTokens} tokens)`,
      ),
    ),
    row(
      `within ${bounds}`,
      concurrency.map(({ withinSlo: within }) => {
        if (within === null) return null;
        const below =
          within.brokenAt === null ? "and more: no level broke it" : `below ${written(within.brokenAt)}`;
        const above =
          within.highestKept !== null && within.highestKept > (within.inFlight ?? 0)
            ? `; kept again at ${written(within.highestKept)}`
            : "";
        if (within.isLeastBroken) return `none: broken from the start${above}`;
        // The least load has the fewest requests, so it is the one that most often cannot be judged.
        return within.inFlight === null
          ? `not shown: broken at ${written(within.brokenAt!)}, not judged below${above}`
          : `${written(within.inFlight)}, ${below}${above}`;
      }),
    ),
    row(
      "median in flight of the last level with a rate",
      concurrency.map(({ lastLevel }) => (lastLevel === null ? null : written(lastLevel))),
    ),
  ].filter((each) => each !== null);
  if (rows.length === 0) return null;
  return {
    title: "How many at once",
    captions: [
      "Three figures that are often taken for each other. The first is memory: sequences of a request's full length that fit. The second is service: the most in flight at which every bound holds, there and at every level below. The third is what was in flight at a rate that the tool chose itself (rate × time in the system, Little's law): neither a limit of memory nor of service, and given only to stand beside reports that have it.",
    ],
    header: ["", ...names],
    textColumns: [0],
    rows,
  };
}

function written(inFlight: number): string {
  return String(Number(inFlight.toPrecision(4)));
}

function violationTable({ load }: ComparisonRecord, names: readonly string[]): ReportTable | null {
  const rows = load.violations.flatMap((own, index) =>
    own.map(({ level, inFlight, bound, valueMs, errorShare, isWeak, isPassing }) => [
      names[index]!,
      level,
      written(inFlight),
      bound,
      valueMs === null ? `${(100 * (errorShare ?? 0)).toFixed(1)} %` : milliseconds(valueMs),
      isWeak
        ? "too few requests to count"
        : isPassing
          ? "a level with more load keeps it: not the load alone, measure again"
          : "",
    ]),
  );
  if (rows.length === 0) return null;
  return {
    title: "Bounds that were broken",
    captions: [],
    header: ["", "load", "in flight", "bound", "ms or share", "note"],
    textColumns: [0, 1, 3, 5],
    rows,
  };
}

function degradationTable({ load }: ComparisonRecord, names: readonly string[]): ReportTable | null {
  if (load.degradation.every((each) => each === null)) return null;
  // Runs without a load in common, and one alone, have no place where all are alike.
  const equal = load.equalLoad === null ? null : `ratio at ${written(load.equalLoad)}`;
  return {
    title: "How TPOT grows with the load",
    captions: [
      `Medians. The ratio is that of the greatest load to the least, each run at its own: a run that carries more in flight is shown at more, so it alone misleads. The slope is what each further request in flight costs.${equal === null ? "" : ` The ${equal} in flight is taken where all runs are alike.`}`,
      ...load.degradation.flatMap((own, index) =>
        own === null
          ? []
          : [
              `${names[index]}, against its least load: ${own.levels.map(({ inFlight, ratio }) => `${written(inFlight)} → ${ratio.toFixed(2)}`).join(", ")}.`,
            ],
      ),
    ],
    header: [
      "",
      "least load",
      "ms",
      "greatest load",
      "ms",
      "ratio",
      "ms per request in flight",
      ...(equal === null ? [] : [equal]),
    ],
    textColumns: [0],
    rows: load.degradation.flatMap((own, index) =>
      own === null
        ? []
        : [
            [
              names[index]!,
              written(own.first.inFlight),
              milliseconds(own.first.tpotMs),
              written(own.last.inFlight),
              milliseconds(own.last.tpotMs),
              own.ratio.toFixed(2),
              own.slopeMs.toFixed(2),
              ...(equal === null ? [] : [own.ratioAtEqualLoad?.toFixed(2) ?? "–"]),
            ],
          ],
    ),
  };
}
