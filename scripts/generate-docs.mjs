// Writes deploy/monitoring's dashboard, docs/reference/ from the catalogue, the command definitions and the schemas, docs/performance.md and docs/compression-table.md
// from the records beside them; --check only compares.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { compressionPage } from "../tests/perf/compression-page.mjs";
import { performancePage } from "../tests/perf/performance-page.mjs";
import { grafanaDashboard } from "./grafana-dashboard.mjs";
import { root } from "./run-step.mjs";

const check = process.argv.includes("--check");
const { errorCatalogue } = await import("../dist/base/error-catalogue.js");
const { httpStatusOf, exitCodeOf, MillraceError } = await import("../dist/base/errors.js");
const { createProgram } = await import("../dist/cli/program.js");

const { flagName } = await import("../dist/config/component.js");
const { sharedVllmFlags, vllmFlags } = await import("../dist/config/vllm-flags.js");
const { configHelp, serveComponents } = await import("../dist/cli/serve-settings.js");
const { endpointBodies, takenBy } = await import("../dist/server/endpoint-bodies.js");
const { routes, shownPath } = await import("../dist/server/routes.js");

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
  const nested = (command) => command.commands.filter((each) => each.name() !== "help");
  for (const command of program.commands.flatMap((each) => [each, ...nested(each)])) {
    const name = command.parent === program ? command.name() : `${command.parent.name()} ${command.name()}`;
    command.configureHelp({ helpWidth: 110 });
    let text = "";
    command.configureOutput({ writeOut: (chunk) => (text += chunk) });
    command.outputHelp();
    parts.push(`## ${name}`, "", "```", text.trimEnd(), "```", "");
  }
  return parts.join("\n");
}

/** @param rows cells in Markdown, bars escaped here */
function table(heads, rows) {
  const line = (cells) => `| ${cells.map((cell) => String(cell).replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(heads), line(heads.map(() => "---")), ...rows.map(line)];
}

function vllmFlagsPage() {
  const ours = new Map(
    serveComponents
      .flatMap((component) => Object.values(component))
      .map((field) => [flagName(field.flag), field]),
  );
  const shared = sharedVllmFlags.map((name) => [
    `\`${name}\``,
    "supported",
    ours.get(name)?.help ?? configHelp,
  ]);
  const others = vllmFlags.map((met) => {
    const name = `\`${flagName(met.flag)}\``;
    if ("note" in met) return [name, "accepted, changes nothing", met.note];
    if ("means" in met) return [name, "accepted", `means \`${met.means.join(" ")}\``];
    const taken =
      met.taken === undefined
        ? ""
        : `; ${met.taken.join(", ")} ${met.taken.length > 1 ? "are" : "is"} accepted`;
    return [name, "refused", met.instead + taken];
  });
  return [
    "# Flags of `vllm serve`",
    "",
    "Generated from `src/config/` by `node scripts/generate-docs.mjs`. The flags of `millrace serve` itself are in",
    "[Commands](commands.md#serve).",
    "",
    ...table(
      ["Flag", "Here", "What it does, or what to use"],
      [...shared, ...others].sort(([a], [b]) => (a < b ? -1 : 1)),
    ),
    "",
  ].join("\n");
}

function requestFieldsPage() {
  const parts = Object.entries(endpointBodies).flatMap(([name, { schema, fields }]) => {
    const { method, path: route, summary } = routes[name];
    const known = Object.entries(schema.shape).map(([field, type]) => [
      `\`${field}\``,
      "supported",
      takenBy(type),
    ]);
    const isKnown = (field) => Object.hasOwn(schema.shape, field);
    const refused = [...fields.refused.keys()].filter((field) => !isKnown(field));
    const ignored = [...fields.ignored].filter((field) => !isKnown(field));
    return [
      `## ${method} ${shownPath(route)}`,
      "",
      `${summary[0].toUpperCase()}${summary.slice(1)}.`,
      "",
      ...table(
        ["Field", "Here", "Takes"],
        [
          ...known,
          ...ignored.map((field) => [`\`${field}\``, "accepted and warned", ""]),
          ...refused.map((field) => [
            `\`${field}\``,
            "refused",
            "left out, or the value that changes nothing",
          ]),
        ],
      ),
      "",
    ];
  });
  return [
    "# Fields of requests",
    "",
    "Generated from the schemas of the server by `node scripts/generate-docs.mjs`.",
    "",
    "Fields that are accepted and warned have no effect; the header `x-millrace-warnings` lists them. So it is with fields that no",
    "table has; with `--strict` those are refused.",
    "",
    ...parts,
  ].join("\n");
}

const pages = {
  "deploy/monitoring/grafana-dashboard.json": grafanaDashboard(),
  "docs/reference/vllm-flags.md": vllmFlagsPage(),
  "docs/reference/request-fields.md": requestFieldsPage(),
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
