// `npm run check`: types, lint, format, structure rules, generated pages, unit tests, packaging. Stops at the first fault.
import { reporter, runTool } from "./run-step.mjs";

const noTests = process.argv.includes("--no-tests");
const steps = [
  { label: "types", tool: "tsc", args: ["-b"] },
  { label: "lint", tool: "oxlint", args: ["--type-aware", "--deny-warnings", "src", "tests", "scripts"] },
  { label: "format", tool: "biome", args: ["check", "--linter-enabled=false", "--error-on-warnings", "."] },
  { label: "structure", tool: "node", args: ["scripts/check-structure.mjs"] },
  { label: "generated pages", tool: "node", args: ["scripts/generate-docs.mjs", "--check"] },
  { label: "unused code", tool: "knip", args: ["--no-progress"] },
  { label: "package", tool: "publint", args: ["--strict"] },
  ...(noTests
    ? []
    : [{ label: "unit tests", tool: "vitest", args: ["run", "--silent", `--reporter=${reporter}`, "src"] }]),
];

for (const { label, tool, args } of steps) {
  const started = performance.now();
  const status = runTool(tool, args);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  process.stdout.write(`${status === 0 ? "ok  " : "FAIL"} ${label} (${seconds} s)\n`);
  if (status !== 0) process.exit(status);
}
