// The flags of a script in tests. What a script does and takes stands in the comment at its head.
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";

/** `parseArgs` of Node, with --help, and with a line instead of a stack for a wrong flag. */
export function parseFlags(config) {
  const script = process.argv[1];
  try {
    const parsed = parseArgs({
      ...config,
      options: { ...config.options, help: { type: "boolean", default: false } },
    });
    if (!parsed.values.help) return parsed;
    console.log(headOf(script));
    process.exit(0);
  } catch (error) {
    console.error(`${error.message}\n--help tells what ${script} takes.`);
    process.exit(2);
  }
}

/** The comment that a script begins with. */
export function headOf(script) {
  const lines = readFileSync(script, "utf8").split("\n");
  const end = lines.findIndex((line) => !line.startsWith("//"));
  return lines
    .slice(0, end)
    .map((line) => line.replace(/^\/\/ ?/, ""))
    .join("\n");
}
