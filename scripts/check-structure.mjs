// The project's own rules: file sizes, layer direction by folder, forbidden folders, words that do not belong here.
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { root } from "./run-step.mjs";

const maxLines = 400;
/** Generated tables may be longer. Keep this list short. */
const sizeExempt = new Set([]);
const faults = [];

const files = execFileSync("git", ["ls-files", "-co", "--exclude-standard"], { cwd: root, encoding: "utf8" })
  .split("\n")
  .filter((file) => file !== "" && existsSync(path.join(root, file)));
const isCode = (file) => /\.(ts|mjs|cc|h|py)$/.test(file);

for (const file of files.filter(isCode)) {
  const text = readFileSync(path.join(root, file), "utf8");
  const lines = text.split("\n").length - 1;
  if (lines > maxLines && !sizeExempt.has(file)) faults.push(`${file}: ${lines} lines, at most ${maxLines}`);
  if (/(^|\/)(utils?|helpers?|misc)(\/|\.)/.test(file)) faults.push(`${file}: a helper lives with its noun`);
  if (/\b(TODO|FIXME|XXX)\b/.test(text) && !file.startsWith("scripts/")) {
    faults.push(`${file}: unfinished place`);
  }
}

/** Layers that a layer may import, from its tsconfig references. */
function allowedLayers(layer) {
  const config = JSON.parse(readFileSync(path.join(root, "src", layer, "tsconfig.json"), "utf8"));
  return new Set([layer, ...config.references.map((reference) => path.basename(reference.path))]);
}

for (const file of files.filter((name) => /^src\/[^/]+\/.*\.ts$/.test(name) && !name.endsWith(".test.ts"))) {
  const layer = file.split("/")[1];
  const allowed = allowedLayers(layer);
  const text = readFileSync(path.join(root, file), "utf8");
  for (const [, target] of text.matchAll(/from "(\.[^"]+)"/g)) {
    const resolved = path.posix.normalize(path.posix.join(path.posix.dirname(file), target));
    const other = resolved.split("/")[1];
    if (!allowed.has(other)) faults.push(`${file}: layer ${layer} may not import ${other}`);
    if (!existsSync(path.join(root, resolved)))
      faults.push(`${file}: imports ${target}, which does not exist`);
  }
  if (!["cli", "config"].includes(layer) && /\bprocess\.(exit|argv)\b/.test(text)) {
    faults.push(`${file}: only cli/ may read argv or exit`);
  }
}

const machinePaths = /(^|[^\w./])\/(work|root|home)\/|registry\.npmjs|pypi\.org|files\.pythonhosted/;
for (const file of files.filter((name) => /\.(ts|mjs|cc|h|py|md|json|yml)$/.test(name))) {
  if (file === "scripts/check-structure.mjs") continue;
  const lines = readFileSync(path.join(root, file), "utf8").split("\n");
  lines.forEach((line, index) => {
    if (machinePaths.test(line)) faults.push(`${file}:${index + 1}: machine path or registry host`);
  });
}

for (const fault of faults) process.stderr.write(`${fault}\n`);
if (faults.length > 0) process.exit(1);
process.stdout.write(`structure: ${files.filter(isCode).length} code files follow the rules\n`);
