// Builds TypeScript and the native addon after `npm ci` in a clone. A published package carries dist/ and never runs this.
import { existsSync, writeFileSync } from "node:fs";
import path from "node:path";
import { root, runTool } from "./run-step.mjs";

if (!existsSync(path.join(root, "node_modules", "typescript"))) {
  process.stdout.write("millrace: TypeScript is not installed (--omit=dev?), so nothing was built.\n");
  process.exit(0);
}
// npx finds a clone's own command here. Without it, npx links the clone in its cache, and for good without the command
// when it was asked before anything was built.
writeFileSync(
  path.join(root, "node_modules", ".bin", "millrace"),
  '#!/usr/bin/env node\nimport("../../dist/cli/main.js");\n',
  { mode: 0o755 },
);
for (const [tool, ...args] of [
  ["tsc", "-b"],
  ["node", "scripts/bundle.mjs"],
]) {
  const status = runTool(tool, args);
  if (status !== 0) process.exit(status);
}
process.exit(runTool("node", ["scripts/build-native.mjs"]));
