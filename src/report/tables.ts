import type { ComparisonRecord, SettingDifference, Variant } from "../records/comparison.ts";
import { accuracyTable } from "./accuracy.ts";
import { costTable } from "./cost-table.ts";
import { loadTables } from "./load-tables.ts";
import { provenanceTable } from "./provenance.ts";
import type { ReportTable } from "./report-table.ts";
import { sizeTable } from "./size-table.ts";
import { latencyRatioTable, latencyTable, throughputTable } from "./speed-tables.ts";

/** All tables of the report, in order. */
export function reportTables(record: ComparisonRecord): ReportTable[] {
  const { variants, pairs, measurements, differences } = record;
  const withAccuracy = pairs.filter(({ accuracy }) => accuracy.length > 0);
  return [
    failureTable(variants),
    sizeTable(variants),
    ...withAccuracy.map(({ variant, accuracy, unpaired }) =>
      accuracyTable(accuracy, unpaired, withAccuracy.length === 1 ? "Accuracy" : `Accuracy of ${variant}`),
    ),
    throughputTable(record),
    costTable(record),
    ...loadTables(record),
    latencyRatioTable(record),
    latencyTable(variants),
    differenceTable(variants, differences),
    measurements.length === 0 ? null : provenanceTable(measurements),
  ].filter((table) => table !== null);
}

function failureTable(variants: readonly Variant[]): ReportTable | null {
  const rows = variants.flatMap(({ name, engine, failure }) =>
    failure === null ? [] : [[name, engine ?? "–", failure.kind, failure.message]],
  );
  if (rows.length === 0) return null;
  return {
    title: "What failed",
    captions: [],
    header: ["", "engine", "what happened", "in its words"],
    textColumns: [0, 1, 2, 3],
    rows,
  };
}

function differenceTable(
  variants: readonly Variant[],
  differences: readonly SettingDifference[],
): ReportTable | null {
  if (differences.length === 0) return null;
  return {
    title: "What was not the same",
    captions: [
      "Settings that differ between the runs. A difference of the figures may come from any of them.",
    ],
    header: ["setting", ...variants.map(({ name }) => name)],
    textColumns: [0, ...variants.map((_, index) => index + 1)],
    rows: differences.map(({ setting, values }) => [setting, ...values.map((value) => value ?? "–")]),
  };
}
