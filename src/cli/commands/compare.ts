import path from "node:path";
import type { Command } from "commander";
import { z } from "zod";
import { MillraceError } from "../../base/errors.ts";
import { writeFileAtomically } from "../../base/write-file.ts";
import { type Component, field } from "../../config/component.ts";
import { compareAccuracy } from "../../flow/compare-accuracy.ts";
import { readEvaluation } from "../../flow/evaluation-files.ts";
import { readJsonFile } from "../../flow/json-files.ts";
import { writeComparison } from "../../flow/run-flow.ts";
import { comparisonSchema } from "../../records/comparison.ts";
import { accuracyTable, unpairedNotes } from "../../report/accuracy.ts";
import { renderAccuracyHtml } from "../../report/html.ts";
import { renderMarkdown } from "../../report/markdown.ts";
import { qualityVerdict } from "../../report/verdict.ts";
import { type CommandHelp, createCommand } from "../create-command.ts";
import { addSettings, readSettings } from "../settings.ts";
import { formatTable, printLine } from "../terminal.ts";

const own = {
  html: field(
    "--html <file>",
    z.string().optional(),
    "with two evaluations: write a page with the table and every answer that changed",
  ),
  json: field("--json", z.boolean().default(false), "print JSON"),
} satisfies Component;

const help: CommandHelp = {
  summary: "Compare two runs from their records",
  details: `
With one folder: the folder of a flow; its reports are written again from its records and printed.
With two folders: those of \`millrace evaluate --out\` or of lm-eval; their accuracy is compared document by
document, the first as base. Documents that only one of them has are named and count in no figure.`,
  examples: ["millrace compare out/model-w8a8", "millrace compare scores-base scores-w4 --html changes.html"],
};

export function compareCommand(): Command {
  const command = createCommand("compare", help)
    .argument("<base>", "a flow's folder, or an evaluation's")
    .argument("[compressed]", "the second evaluation's folder");
  return addSettings(command, own).action(runCompare);
}

function runCompare(base: string, compressed: string | undefined, _options: unknown, command: Command): void {
  const { html, json } = readSettings(command, own);
  if (compressed === undefined) {
    const record = comparisonSchema.safeParse(readJsonFile(path.join(base, "comparison.json"))).data;
    if (record === undefined) {
      throw new MillraceError(
        "file_not_found",
        `${base} has no comparison.json of this version. Give the folder of a finished flow, or two evaluation folders.`,
      );
    }
    writeComparison(base, record);
    printLine(json ? JSON.stringify(record, null, 2) : renderMarkdown(record));
    return;
  }
  const [a, b] = [readEvaluation(base), readEvaluation(compressed)];
  const comparison = compareAccuracy(a, b);
  const { accuracy, unpaired } = comparison;
  const verdict = qualityVerdict(accuracy, unpaired);
  if (html !== undefined) {
    const title = `${a.model_name} against ${b.model_name}`;
    writeFileAtomically(path.resolve(html), renderAccuracyHtml(title, verdict, comparison));
  }
  if (json) {
    printLine(JSON.stringify({ verdict, ...comparison }, null, 2));
    return;
  }
  const table = accuracyTable(accuracy, unpaired);
  printLine(verdict);
  printLine(formatTable(table.header, table.rows));
  for (const note of unpairedNotes(unpaired)) printLine(note);
}
