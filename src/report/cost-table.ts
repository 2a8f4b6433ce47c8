import type { ComparisonRecord } from "../records/comparison.ts";
import { inOrderOfLoad, levelName } from "../records/load-level.ts";
import type { ReportTable } from "./report-table.ts";

/** What a million output tokens cost at each load; null where nobody said what an hour costs. */
export function costTable({ variants, pricePerHour }: ComparisonRecord): ReportTable | null {
  if (pricePerHour === null) return null;
  const rows = variants.flatMap(({ name, levels }) =>
    inOrderOfLoad(levels).map((level) => [
      levelName(level),
      name,
      level.outputTokensPerSecond.toFixed(1),
      level.outputTokensPerSecond === 0
        ? "–"
        : ((1e6 * pricePerHour) / (3600 * level.outputTokensPerSecond)).toFixed(2),
    ]),
  );
  if (rows.length === 0) return null;
  return {
    title: "Cost of a million output tokens",
    captions: [
      `At ${pricePerHour} an hour, for a machine that is as busy as this all the time. Energy was not measured.`,
    ],
    header: ["load", "", "output tokens/s", "cost"],
    textColumns: [0, 1],
    rows,
  };
}
