import { formatDuration } from "../base/units.ts";
import type { ComparisonRecord, Measurement } from "../records/comparison.ts";
import type { ReportTable } from "./report-table.ts";

/** One line for the head: when and on what the parts were measured, and when the report was written. */
export function provenanceLine({ measurements, version, writtenAt }: ComparisonRecord): string {
  const written = `Written by Millrace ${version} on ${minuteOf(writtenAt)} UTC.`;
  if (measurements.length === 0) return written;
  const starts = measurements.map((entry) => entry.startedAt).sort();
  const [first, last] = [minuteOf(starts[0]!), minuteOf(starts.at(-1)!)];
  const span = first === last ? `on ${first} UTC` : `between ${first} and ${last} UTC`;
  const kernels = distinct(measurements, (entry) => entry.kernels);
  const on = `${distinct(measurements, (entry) => entry.processor)}${kernels === "" ? "" : ` (${kernels})`}`;
  const by = distinct(measurements, (entry) => `Millrace ${entry.version}, build ${entry.build}`);
  return `Measured ${span} on ${on} with ${by}. ${written}`;
}

/** Each part with its own time, machine and program. */
export function provenanceTable(measurements: readonly Measurement[]): ReportTable {
  return {
    title: "When and where each part was measured",
    captions: [
      "A part that was kept from an earlier run bears the time of that run. A part is kept only where its inputs, the machine, the kernels and the build of Millrace are the same.",
    ],
    header: ["part", "of", "began (UTC)", "took", "processor", "kernels", "Millrace", "build", "Node"],
    textColumns: [0, 1, 2, 4, 5, 6, 7, 8],
    rows: measurements.map((entry) => [
      entry.part,
      entry.variant,
      entry.startedAt.slice(0, 19).replace("T", " "),
      formatDuration(entry.durationMs),
      entry.processor,
      entry.kernels ?? "–",
      entry.version,
      entry.build,
      entry.node,
    ]),
  };
}

function minuteOf(time: string): string {
  return time.slice(0, 16).replace("T", " ");
}

function distinct(
  measurements: readonly Measurement[],
  textOf: (entry: Measurement) => string | null,
): string {
  return [...new Set(measurements.map(textOf))].filter((text) => text !== null).join(" and ");
}
