// `npm run check`: types, lint, format, structure rules, generated pages, unit tests, packaging. Stops at the first fault.
import { runTool } from "./run-step.mjs";

const noTests = process.argv.includes("--no-tests");
const steps = [
  ["types", "tsc", ["-b"]],
  ["lint", "oxlint", ["--type-aware", "--deny-warnings", "src", "tests", "scripts"]],
  ["format", "biome", ["check", "--linter-enabled=false", "--error-on-warnings", "."]],
  ["structure", "node", ["scripts/check-structure.mjs"]],
  ["generated pages", "node", ["scripts/generate-docs.mjs", "--check"]],
  ["unused code", "knip", ["--no-progress"]],
  ["package", "publint", ["--strict"]],
  ...(noTests ? [] : [["unit tests", "vitest", ["run", "--silent", "--reporter=dot", "src"]]]),
];

for (const step of steps) {
  const [label, tool, args] = step;
  const started = performance.now();
  const status = runTool(tool, args);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  process.stdout.write(`${status === 0 ? "ok  " : "FAIL"} ${label} (${seconds} s)\n`);
  if (status !== 0) process.exit(status);
}
