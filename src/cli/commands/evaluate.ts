import path from "node:path";
import { Command } from "commander";
import { z } from "zod";
import { MillraceError } from "../../base/errors.ts";
import { type Component, field } from "../../config/component.ts";
import { engineSettings, sourceSettings } from "../../config/engine-settings.ts";
import { textList } from "../../config/value-schemas.ts";
import { evaluateTasks } from "../../evaluate/evaluate.ts";
import { tasks as allTasks, findTask, parseLimits, parseSplits } from "../../evaluate/task-registry.ts";
import { writeEvaluation } from "../../flow/step-files.ts";
import type { EvaluationRecord } from "../../records/evaluation.ts";
import { listenForInterrupt } from "../interrupt.ts";
import { openLocalScorer } from "../local-scorer.ts";
import { modelNameOf } from "../model-source.ts";
import { checkOutputFolder } from "../output-folder.ts";
import { addSettings, readSettings } from "../settings.ts";
import { formatTable, printLine, TerminalProgress } from "../terminal.ts";

/** Settings that say what is evaluated; the flow takes them too. */
export const taskSettings = {
  tasks: field("--tasks <names>", textList.optional(), "tasks, separated by commas; `list` explains each"),
  limit: field("--limit <n>", z.string().optional(), "first documents only: 100, or wikitext=4,arc_easy=100"),
  split: field(
    "--split <name>",
    z.string().optional(),
    "split to evaluate: validation, or arc_easy=validation",
  ),
  data: field(
    "--data <folder>",
    z.string().optional(),
    "folder of the tasks' files (arc/, hellaswag/, wikitext-2-raw/)",
  ),
} satisfies Component;

const own = {
  out: field("--out <folder>", z.string().optional(), "write evaluation.json and the samples here"),
  json: field("--json", z.boolean().default(false), "print the results as JSON"),
} satisfies Component;

const examples = `
Prompts, tokenisation and metrics are lm-eval's.

Examples:
  millrace evaluate --tasks list
  millrace evaluate ./model --tasks arc_easy,wikitext --limit wikitext=4,arc_easy=100 --data ./data
  millrace evaluate ./model --tasks arc_easy --split validation --data ./data --activations f32 --out ./scores`;

export function evaluateCommand(): Command {
  const command = new Command("evaluate")
    .description("measure a model's accuracy or perplexity on tasks")
    .argument("[model]", "a model folder or a GGUF file")
    .addHelpText("after", examples);
  for (const part of [taskSettings, own, sourceSettings, engineSettings]) addSettings(command, part);
  return command.action(runEvaluate);
}

async function runEvaluate(
  modelPath: string | undefined,
  _options: unknown,
  command: Command,
): Promise<void> {
  const { tasks = [], limit, split, data } = readSettings(command, taskSettings);
  if (tasks.includes("list")) {
    printLine(
      formatTable(
        ["task", "kind", "what"],
        allTasks.map((task) => [task.name, task.kind, task.summary]),
      ),
    );
    return;
  }
  if (modelPath === undefined || tasks.length === 0) {
    throw new MillraceError(
      "invalid_option",
      "evaluate takes a model and --tasks, such as: millrace evaluate ./model --tasks arc_easy --data ./data. `--tasks list` names the tasks.",
      { param: "--tasks" },
    );
  }
  for (const name of tasks) findTask(name);
  const limits = parseLimits(limit);
  const splits = parseSplits(split);
  const { out, json } = readSettings(command, own);
  if (out !== undefined) checkOutputFolder(out);
  const interrupt = listenForInterrupt();
  const engine = readSettings(command, engineSettings);
  const opened = await openLocalScorer(modelPath, engine, readSettings(command, sourceSettings));
  try {
    const record = await evaluateTasks({
      tasks,
      limits,
      splits,
      dataDir: data ?? null,
      scorer: opened.scorer,
      tokenizer: opened.tokenizer,
      maxLength: opened.maxLength,
      model: modelNameOf(modelPath),
      modelArgs: opened.modelArgs,
      progress: new TerminalProgress(),
      signal: interrupt.signal,
    });
    if (out !== undefined) writeEvaluation(path.resolve(out), record);
    printResults(record, json);
  } finally {
    interrupt.release();
    await opened.close();
  }
}

function printResults(record: EvaluationRecord, json: boolean): void {
  if (json) {
    const { samples: _samples, ...results } = record;
    printLine(JSON.stringify(results, null, 2));
    return;
  }
  const rows = Object.entries(record.results).flatMap(([task, values]) =>
    Object.entries(values).flatMap(([key, value]) => {
      if (typeof value !== "number" || !key.endsWith(",none") || key.includes("_stderr")) return [];
      const metric = key.slice(0, -",none".length);
      const stderr = values[`${metric}_stderr,none`];
      const documents = String(record["n-samples"][task]?.effective ?? "");
      return [
        [
          task,
          metric,
          documents,
          value.toFixed(4),
          typeof stderr === "number" ? `± ${stderr.toFixed(4)}` : "",
        ],
      ];
    }),
  );
  printLine(formatTable(["task", "metric", "documents", "value", "stderr"], rows));
}
