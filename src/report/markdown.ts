import type { ComparisonRecord } from "../records/comparison.ts";
import { provenanceLine } from "./provenance.ts";
import type { ReportTable } from "./report-table.ts";
import { reportTables } from "./tables.ts";

/** The comparison as Markdown. */
export function renderMarkdown(record: ComparisonRecord): string {
  const { title, recommendation, pairs, notes } = record;
  return [
    `# ${inline(title)}`,
    "",
    ...(recommendation === null ? [] : [`**${inline(recommendation.text)}**`, ""]),
    ...pairs.flatMap(({ variant, verdict }) => [
      `${inline(variant)}:`,
      "",
      ...verdict.map((sentence) => `- ${inline(sentence)}`),
      "",
    ]),
    inline(provenanceLine(record)),
    "",
    ...reportTables(record).flatMap(renderTable),
    ...(notes.length === 0 ? [] : ["## Notes", "", ...notes.map((note) => `- ${inline(note)}`), ""]),
  ].join("\n");
}

function renderTable(table: ReportTable): string[] {
  const line = (cells: readonly string[]): string => `| ${cells.map(cellText).join(" | ")} |`;
  return [
    `## ${inline(table.title)}`,
    "",
    line(table.header),
    line(table.header.map((_, column) => (table.textColumns.includes(column) ? "---" : "---:"))),
    ...[...table.rows, ...(table.folded?.rows ?? [])].map(line),
    "",
    ...table.captions.flatMap((caption) => [inline(caption), ""]),
  ];
}

/** A backslash before a bar would take away the bar's own. */
function cellText(text: string): string {
  return inline(text).replaceAll(/(\\*)\|/g, "$1$1\\|");
}

/** Text of files and servers as one line that is read as it stands: no tag, no entity, no end of a table. */
function inline(text: string): string {
  return text
    .replaceAll(/[\n\r\u2028\u2029]+/g, " ")
    .replaceAll(/&(?=#?\w+;)/g, "&amp;")
    .replaceAll(/<(?=[a-z/!?])/gi, "&lt;");
}
