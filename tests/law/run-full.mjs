// `npm run law`: every combination of settings on both models, instead of an array that holds every pair. Takes hours;
// arguments go to vitest, such as `-t "pebble.*KV int8"` for a part.
import { runTool } from "../../scripts/run-step.mjs";

process.env.MILLRACE_LAW = "full";
process.exit(runTool("vitest", ["run", "tests/law/law.test.ts", ...process.argv.slice(2)]));
