// Writes docs/reference/ from the catalogue and the command definitions, docs/performance.md and docs/compression-table.md
// from the records beside them; --check only compares.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { compressionPage } from "../tests/perf/compression-page.mjs";
import { performancePage } from "../tests/perf/performance-page.mjs";
import { root } from "./run-step.mjs";

const check = process.argv.includes("--check");
const { errorCatalogue } = await import("../dist/base/error-catalogue.js");
const { httpStatusOf, exitCodeOf, MillraceError } = await import("../dist/base/errors.js");
const { createProgram } = await import("../dist/cli/program.js");

function errorsPage() {
  const rows = Object.entries(errorCatalogue).map(([code, entry]) => {
    const error = new MillraceError(code, "");
    const cells = [
      `\`${code}\``,
      entry.kind,
      httpStatusOf(error),
      exitCodeOf(error),
      entry.when,
      entry.remedy,
    ];
    return `| ${cells.join(" | ")} |`;
  });
  return [
    "# Errors",
    "",
    "Generated from `src/base/error-catalogue.ts` by `node scripts/generate-docs.mjs`.",
    "",
    "| Code | Kind | HTTP status | Exit code | When | What to do |",
    "|---|---|---|---|---|---|",
    ...rows,
    "",
  ].join("\n");
}

async function commandsPage() {
  const program = await createProgram();
  program.configureHelp({ helpWidth: 110 });
  const parts = [
    "# Commands",
    "",
    "Generated from the command definitions by `node scripts/generate-docs.mjs`.",
    "",
  ];
  for (const command of program.commands) {
    command.configureHelp({ helpWidth: 110 });
    let text = "";
    command.configureOutput({ writeOut: (chunk) => (text += chunk) });
    command.outputHelp();
    parts.push(`## ${command.name()}`, "", "```", text.trimEnd(), "```", "");
  }
  return parts.join("\n");
}

const pages = {
  "docs/reference/errors.md": errorsPage(),
  "docs/reference/commands.md": await commandsPage(),
};
const performanceRecord = path.join(root, "docs/performance.json");
if (existsSync(performanceRecord)) {
  pages["docs/performance.md"] = performancePage(JSON.parse(readFileSync(performanceRecord, "utf8")));
}
const compressionRecord = path.join(root, "docs/compression-table.json");
if (existsSync(compressionRecord)) {
  pages["docs/compression-table.md"] = compressionPage(JSON.parse(readFileSync(compressionRecord, "utf8")));
}
let stale = 0;
for (const [file, text] of Object.entries(pages)) {
  const target = path.join(root, file);
  if (check) {
    if (!existsSync(target) || readFileSync(target, "utf8") !== text) {
      process.stderr.write(`${file} is out of date; run: node scripts/generate-docs.mjs\n`);
      stale += 1;
    }
  } else {
    mkdirSync(path.dirname(target), { recursive: true });
    writeFileSync(target, text);
  }
}
process.exit(stale > 0 ? 1 : 0);
