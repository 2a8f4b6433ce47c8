// Builds TypeScript and the native addon after `npm ci` in a clone. A published package carries dist/ and never runs this.
import { existsSync, writeFileSync } from "node:fs";
import path from "node:path";
import { root, runTool } from "./run-step.mjs";

if (!existsSync(path.join(root, "node_modules", "typescript"))) {
  process.stdout.write("millrace: TypeScript is not installed (--omit=dev?), so nothing was built.\n");
  process.exit(0);
}
const command = path.join(root, "dist", "cli", "main.js");
// The first `npx millrace` installs the clone as a link into npm's cache (libnpmexec of npm 11), which runs this script
// again. What `npm ci` built is what it is asked for; and when it is interrupted there, npx fails until that cache is gone.
if (process.env["npm_command"] === "exec" && existsSync(command)) process.exit(0);
// npm puts this folder on the path of what it runs. The link in its cache lacks the command when it was made before
// anything was built.
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
