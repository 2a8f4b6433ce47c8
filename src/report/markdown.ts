import type { ComparisonRecord } from "../records/comparison.ts";
import { provenanceLine } from "./provenance.ts";
import { type ReportTable, titleOf } from "./report-table.ts";
import { reportTables } from "./tables.ts";

/** The comparison as Markdown. */
export function renderMarkdown(record: ComparisonRecord): string {
  return [
    `# ${titleOf(record)}`,
    "",
    ...record.verdict.map((sentence) => `- ${sentence}`),
    "",
    provenanceLine(record),
    "",
    ...reportTables(record).flatMap(renderTable),
    ...(record.notes.length === 0 ? [] : ["## Notes", "", ...record.notes.map((note) => `- ${note}`), ""]),
  ].join("\n");
}

function renderTable(table: ReportTable): string[] {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [
    `## ${table.title}`,
    "",
    line(table.header),
    line(table.header.map((_, column) => (table.textColumns.includes(column) ? "---" : "---:"))),
    ...table.rows.map(line),
    "",
    ...table.captions.flatMap((caption) => [caption, ""]),
  ];
}
