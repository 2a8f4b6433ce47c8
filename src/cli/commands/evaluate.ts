import path from "node:path";
import { Command } from "commander";
import { z } from "zod";
import { MillraceError } from "../../base/errors.ts";
import { endpointUrlOf } from "../../client/endpoint.ts";
import { type Component, field, type Values } from "../../config/component.ts";
import { engineSettings, sourceSettings } from "../../config/engine-settings.ts";
import { textList } from "../../config/value-schemas.ts";
import { checkTasks } from "../../evaluate/check-tasks.ts";
import { evaluateTasks } from "../../evaluate/evaluate.ts";
import { tasks as allTasks, parseLimits, parseSplits } from "../../evaluate/task-registry.ts";
import type { OpenScorer } from "../../flow/flow-plan.ts";
import { writeEvaluation } from "../../flow/step-files.ts";
import { loadTokenizerSource } from "../../formats/tokenizer-source.ts";
import type { EvaluationRecord } from "../../records/evaluation.ts";
import { createTokenizer } from "../../tokenizer/create-tokenizer.ts";
import type { Tokenizer } from "../../tokenizer/tokenizer.ts";
import { listenForInterrupt } from "../interrupt.ts";
import { openLocalScorer } from "../local-scorer.ts";
import { modelNameOf, openModel, openTokenizer } from "../model-source.ts";
import { checkOutputFolder } from "../output-folder.ts";
import { openRemoteScorer } from "../remote-scorer.ts";
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
  url: field(
    "--url <url>",
    z.string().optional(),
    "score through a server's POST /v1/completions (echo and logprobs) instead of loading the model; [model] then gives the tokenizer only",
  ),
  servedModel: field(
    "--served-model <name>",
    z.string().optional(),
    "name of the model at --url (default: the first that it lists)",
  ),
  apiKey: field("--api-key <key>", z.string().optional(), "bearer token for --url", {
    env: "OPENAI_API_KEY",
  }),
  out: field("--out <folder>", z.string().optional(), "write evaluation.json and the samples here"),
  json: field("--json", z.boolean().default(false), "print the results as JSON"),
} satisfies Component;

const examples = `
Prompts, tokenisation and metrics are lm-eval's.

Examples:
  millrace evaluate --tasks list
  millrace evaluate ./model --tasks arc_easy,wikitext --limit wikitext=4,arc_easy=100 --data ./data
  millrace evaluate ./model --tasks arc_easy --split validation --data ./data --activations f32 --out ./scores
  millrace evaluate ./model --url http://127.0.0.1:8000 --tasks arc_easy --data ./data`;

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
  const { out, json, ...server } = readSettings(command, own);
  const source = readSettings(command, sourceSettings);
  const hasModel = modelPath !== undefined || (server.url !== undefined && source.tokenizer !== undefined);
  if (!hasModel || tasks.length === 0) {
    throw new MillraceError(
      "invalid_option",
      "evaluate takes a model and --tasks, such as: millrace evaluate ./model --tasks arc_easy --data ./data. With --url, the model (or --tokenizer) gives the tokenizer. `--tasks list` names the tasks.",
      { param: "--tasks" },
    );
  }
  const choice = { tasks, limits: parseLimits(limit), splits: parseSplits(split), dataDir: data ?? null };
  checkTasks(choice);
  if (out !== undefined) checkOutputFolder(out);
  const interrupt = listenForInterrupt();
  try {
    const engine = readSettings(command, engineSettings);
    const opened = await openScorer(modelPath, server, { engine, source });
    try {
      const record = await evaluateTasks({
        ...choice,
        scorer: opened.scorer,
        tokenizer: opened.tokenizer,
        maxLength: opened.maxLength,
        model: opened.name,
        modelArgs: opened.modelArgs,
        progress: new TerminalProgress(),
        signal: interrupt.signal,
      });
      if (out !== undefined) writeEvaluation(path.resolve(out), record);
      printResults(record, json);
    } finally {
      await opened.close();
    }
  } finally {
    interrupt.release();
  }
}

interface LocalSettings {
  readonly engine: Values<typeof engineSettings>;
  readonly source: Values<typeof sourceSettings>;
}

/** The model in a worker of our own, or behind --url. */
async function openScorer(
  modelPath: string | undefined,
  server: Pick<Values<typeof own>, "url" | "servedModel" | "apiKey">,
  { engine, source }: LocalSettings,
): Promise<OpenScorer & { readonly name: string }> {
  if (server.url === undefined) {
    return {
      ...(await openLocalScorer(modelPath!, engine, source)),
      name: modelNameOf(modelPath!),
    };
  }
  return openRemoteScorer({
    endpoint: { url: endpointUrlOf(server.url, "--url"), apiKey: server.apiKey },
    model: server.servedModel ?? null,
    tokenizer: tokenizerOf(modelPath, source),
    maxModelLen: typeof engine.maxModelLen === "number" ? engine.maxModelLen : null,
  });
}

function tokenizerOf(modelPath: string | undefined, source: LocalSettings["source"]): Tokenizer {
  if (modelPath === undefined) return createTokenizer(loadTokenizerSource(source.tokenizer!));
  const checkpoint = openModel(modelPath);
  try {
    return openTokenizer(checkpoint, source).tokenizer;
  } finally {
    checkpoint.close();
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
