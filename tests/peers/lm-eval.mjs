// lm-eval, from PyPI in an environment of its own, against our server, beside `millrace evaluate` on the same rows in its own
// process. Needs `npm run build`, and python3 with venv.
//
//   node tests/peers/lm-eval.mjs MODEL --data FOLDER [--venv FOLDER] [--tasks arc_easy,piqa,winogrande,openbookqa]
//     [--limit 100] [--tokenizer FOLDER] [--keep FOLDER]
//
// lm-eval asks by `local-completions`: prompts with `echo` and `logprobs`. It has its tokens from the server, or, with
// --tokenizer, from a folder of Hugging Face's and sends them. The environment is made in --venv (default:
// build/venvs/lm-eval) and used again. Fails where a log-likelihood or a verdict differs.
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { compareRuns, readRun } from "../perf/evaluation-runs.mjs";
import { createLmEval, localName, taskNames } from "../perf/lm-eval.mjs";
import { parseFlags } from "../perf/parse-flags.mjs";
import { startServer } from "../server-process.mjs";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const main = path.join(root, "dist/cli/main.js");
const text = { type: "string" };
const { values: flags, positionals } = parseFlags({
  allowPositionals: true,
  options: {
    data: text,
    venv: { ...text, default: path.join(root, "build/venvs/lm-eval") },
    tasks: { ...text, default: "arc_easy,piqa,winogrande,openbookqa" },
    limit: { ...text, default: "100" },
    tokenizer: text,
    keep: text,
  },
});
const [model] = positionals;
const taskList = flags.tasks.split(",");
const unknown = taskList.filter((name) => !taskNames.includes(name));
if (model === undefined || flags.data === undefined || unknown.length > 0) {
  console.error(`MODEL and --data are needed, and tasks of ${taskNames.join(", ")}; --help tells more.`);
  process.exit(2);
}
const { limit } = flags;
const programs = path.resolve(flags.venv, "bin");
const run = (program, args, env) =>
  execFileSync(program, args, { env, stdio: ["ignore", "pipe", "inherit"] });

/** Scores of the rows by our own command, without a server. */
function runOurs(out) {
  const splits = taskList.map((task) => `${task}=validation`).join(",");
  const rows = ["--tasks", taskList.join(","), "--split", splits, "--data", flags.data, "--limit", limit];
  run(process.execPath, [main, "evaluate", model, ...rows, "--out", out]);
  return readRun(out, taskList);
}

/** The same rows by lm-eval over HTTP. */
async function runTheirs(scratch, out) {
  const server = await startServer((port) => [process.execPath, main, "serve", model, "--port", `${port}`]);
  try {
    const { data } = await (await fetch(`${server.url}/v1/models`)).json();
    const tokenizer =
      flags.tokenizer === undefined
        ? "tokenizer_backend=remote"
        : `tokenizer_backend=huggingface,tokenizer=${path.resolve(flags.tokenizer)}`;
    const modelArgs = `model=${data[0].id},base_url=${server.url}/v1/completions,num_concurrent=16,${tokenizer}`;
    const lmEval = createLmEval({ python: path.join(programs, "python"), data: flags.data, scratch });
    const { program, env, args } = lmEval({
      args: ["--model", "local-completions", "--model_args", modelArgs],
      taskList,
      limit,
      out,
    });
    run(program, args, env);
    return readRun(out, taskList, localName);
  } finally {
    await server.stop();
  }
}

function isEqual({ task, scores, numDocuments, numDiffering, gaps }) {
  const numEqual = gaps.filter((gap) => gap === 0).length;
  const told = scores.map(
    ({ metric, ours, theirs }) => `${metric} ${ours.toFixed(4)} / ${theirs.toFixed(4)}`,
  );
  const isGood = numEqual === gaps.length && numDiffering === 0;
  console.log(
    `${isGood ? "ok  " : "FAIL"} ${task}: ${numDocuments} documents, ${told.join(", ")}; ` +
      `${numEqual} of ${gaps.length} log-likelihoods equal to the bit` +
      (isGood ? "" : `, greatest gap ${Math.max(...gaps)}, ${numDiffering} judged otherwise`),
  );
  return isGood;
}

if (!existsSync(path.join(programs, "pip"))) run("python3", ["-m", "venv", path.resolve(flags.venv)]);
run(path.join(programs, "pip"), ["install", "--quiet", "lm-eval[api]"]);
const scratch = flags.keep ?? mkdtempSync(path.join(os.tmpdir(), "millrace-lm-eval-"));
try {
  const theirs = await runTheirs(scratch, path.join(scratch, "theirs"));
  const ours = runOurs(path.join(scratch, "ours"));
  const verdicts = compareRuns(ours, theirs, taskList).map(isEqual);
  process.exitCode = verdicts.every(Boolean) ? 0 : 1;
} finally {
  if (flags.keep === undefined) rmSync(scratch, { recursive: true });
}
