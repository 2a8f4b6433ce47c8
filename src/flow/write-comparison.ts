import path from "node:path";
import { writeFileAtomically } from "../base/write-file.ts";
import type { ComparisonRecord } from "../records/comparison.ts";
import { renderCsv } from "../report/csv.ts";
import { renderHtml } from "../report/html.ts";
import { renderMarkdown } from "../report/markdown.ts";
import { renderSvgFiles } from "../report/svg-files.ts";

/** Writes comparison.json, .md, .csv and .html into a folder, and every figure into figures/. */
export function writeComparison(folder: string, record: ComparisonRecord): void {
  writeFileAtomically(path.join(folder, "comparison.json"), `${JSON.stringify(record, null, 2)}\n`);
  writeFileAtomically(path.join(folder, "comparison.md"), renderMarkdown(record));
  writeFileAtomically(path.join(folder, "comparison.csv"), renderCsv(record));
  writeFileAtomically(path.join(folder, "comparison.html"), renderHtml(record));
  for (const { name, text } of renderSvgFiles(record))
    writeFileAtomically(path.join(folder, "figures", name), text);
}
