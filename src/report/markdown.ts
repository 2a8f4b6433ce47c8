import type { ComparisonRecord } from "../records/comparison.ts";
import { provenanceLine } from "./provenance.ts";
import type { ReportTable } from "./report-table.ts";
import { reportTables } from "./tables.ts";

/** The comparison as Markdown. */
export function renderMarkdown(record: ComparisonRecord): string {
  const { title, recommendation, pairs, notes } = record;
  return [
    `# ${title}`,
    "",
    ...(recommendation === null ? [] : [`**${recommendation.text}**`, ""]),
    ...pairs.flatMap(({ variant, verdict }) => [
      `${variant}:`,
      "",
      ...verdict.map((sentence) => `- ${sentence}`),
      "",
    ]),
    provenanceLine(record),
    "",
    ...reportTables(record).flatMap(renderTable),
    ...(notes.length === 0 ? [] : ["## Notes", "", ...notes.map((note) => `- ${note}`), ""]),
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
    ...[...table.rows, ...(table.folded?.rows ?? [])].map(line),
    "",
    ...table.captions.flatMap((caption) => [caption, ""]),
  ];
}
