// `npm run law`: every combination of settings on both models, instead of an array that holds every pair. Takes hours,
// in pieces if need be: what has passed stands in a journal and is not run again, as long as the code is the same.
//
//   npm run law -- --minutes 20            starts no setting after 20 minutes
//   npm run law -- --journal FILE          default build/law-journal.jsonl
//   npm run law -- -t "pebble.*KV int8"    other arguments go to vitest
import path from "node:path";
import { parseArgs } from "node:util";
import { reporter, root, runTool } from "../../scripts/run-step.mjs";
import { headOf } from "../perf/parse-flags.mjs";

const { values, tokens } = parseArgs({
  options: { minutes: { type: "string" }, journal: { type: "string" }, help: { type: "boolean" } },
  strict: false,
  tokens: true,
});
if (values.help) {
  process.stdout.write(`${headOf(process.argv[1])}\n`);
  process.exit(0);
}
const minutes = values.minutes === undefined ? Number.POSITIVE_INFINITY : Number(values.minutes);
if (!(minutes > 0)) {
  process.stderr.write(`--minutes is "${values.minutes}"; give a number above 0.\n`);
  process.exit(2);
}
const own = new Set();
for (const { kind, name, index, inlineValue } of tokens) {
  if (kind !== "option" || (name !== "minutes" && name !== "journal")) continue;
  own.add(index);
  if (!inlineValue) own.add(index + 1);
}
const rest = process.argv.slice(2).filter((_, index) => !own.has(index));
process.env.MILLRACE_LAW = "full";
process.env.MILLRACE_LAW_MINUTES = String(minutes);
process.env.MILLRACE_LAW_JOURNAL = values.journal ?? path.join(root, "build", "law-journal.jsonl");
process.exit(runTool("vitest", ["run", `--reporter=${reporter}`, "tests/law/law.test.ts", ...rest]));
