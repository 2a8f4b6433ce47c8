import path from "node:path";
import type { Command } from "commander";
import { z } from "zod";
import { MillraceError } from "../../base/errors.ts";
import { packagePath } from "../../base/package-folder.ts";
import { formatDuration } from "../../base/units.ts";
import { type Component, field } from "../../config/component.ts";
import type { FlowPlan, FlowTools } from "../../flow/flow-plan.ts";
import { runFlow } from "../../flow/run-flow.ts";
import { modelNameOf } from "../../formats/model-name.ts";
import { createFastestSolver } from "../../kernels/create-solver.ts";
import type { Solver } from "../../kernels/solver.ts";
import { renderMarkdown } from "../../report/markdown.ts";
import { loadSettings } from "../bench-settings.ts";
import { type CommandHelp, createCommand } from "../create-command.ts";
import { describeKernels, engineDefaults } from "../engine-defaults.ts";
import { listenForInterrupt } from "../interrupt.ts";
import { openLocalModel } from "../local-model.ts";
import { addModelArgument, modelHelp } from "../model-argument.ts";
import { openModel, openTokenizer } from "../model-source.ts";
import { checkOutputFolder } from "../output-folder.ts";
import { ServerLauncher } from "../server-launcher.ts";
import { addSettings, readSettings } from "../settings.ts";
import { taskChoiceOf, taskSettings } from "../task-choice.ts";
import { printLine, TerminalProgress } from "../terminal.ts";
import { schemeSettings } from "./quantize.ts";

const own = {
  out: field("--out <folder>", z.string().optional(), "folder of the results (default: out/MODEL-SCHEME)"),
} satisfies Component;

const embeddedModel = packagePath("models/pebble/model");
const embeddedTasks = ["pebble", "pebble_text"];

const help: CommandHelp = {
  summary: "Quantise, evaluate, serve, load-test and compare, in one go",
  details: `
Quantise, measure the accuracy of both, serve and load-test both, write one comparison. One model is in memory at a
time. Without a model: the embedded demonstration model, offline. Finished steps are not repeated when it runs again.
--tasks none leaves the accuracy out.`,
  examples: [
    "millrace flow",
    "millrace flow ./model --scheme w4a16 --tasks arc_easy,wikitext --limit wikitext=4,arc_easy=100 --data ./data",
    "millrace flow model.gguf --scheme w8a8 --dtype bfloat16 --tasks none --concurrency 1,8,32",
  ],
};

export function flowCommand(): Command {
  const command = addModelArgument(
    createCommand("flow", help),
    "[model]",
    `${modelHelp} (default: the embedded model)`,
  );
  for (const part of [schemeSettings, taskSettings, loadSettings, own]) addSettings(command, part);
  return command.action(runFlowCommand);
}

async function runFlowCommand(given: string | undefined, _options: unknown, command: Command): Promise<void> {
  const started = performance.now();
  const { scheme, groupSize, dtype } = readSettings(command, schemeSettings);
  const chosen = readSettings(command, taskSettings);
  const load = readSettings(command, loadSettings);
  const modelPath = path.resolve(given ?? embeddedModel);
  const modelName = modelNameOf(modelPath);
  const outPath = path.resolve(
    readSettings(command, own).out ?? path.join("out", `${path.basename(modelName)}-${scheme}`),
  );
  const plan: FlowPlan = {
    modelPath,
    modelName,
    scheme,
    groupSize: groupSize ?? null,
    dtype,
    ...(await taskChoiceOf({ ...chosen, tasks: [...tasksOfFlow(given, chosen.tasks)] })),
    concurrencies: load.concurrency,
    requestsPerSeat: load.requestsPerSeat,
    minSeconds: load.minSeconds,
    inputTokens: load.inputTokens,
    outputTokens: load.outputTokens,
    outPath,
    kernels: describeKernels(),
  };
  checkOutputFolder(outPath);
  refuseUnrunnable(plan);
  const interrupt = listenForInterrupt(
    "Run the same command again: finished steps are kept, and an evaluation goes on from the answers it has.",
  );
  const solver = createFastestSolver(0);
  try {
    const record = await runFlow(plan, flowTools(interrupt.signal, solver));
    printLine(renderMarkdown(record));
    printLine(
      `Done in ${formatDuration(performance.now() - started)}. Report: ${path.join(outPath, "comparison.html")}`,
    );
  } finally {
    solver.close();
    interrupt.release();
  }
}

function tasksOfFlow(model: string | undefined, tasks: readonly string[] | undefined): readonly string[] {
  if (tasks !== undefined) return tasks.length === 1 && tasks[0] === "none" ? [] : tasks;
  if (model === undefined) return embeddedTasks;
  throw new MillraceError(
    "invalid_option",
    "There is no --tasks. Say what to measure, such as --tasks arc_easy,wikitext --data FOLDER, or --tasks none to leave the accuracy out.",
    { param: "--tasks" },
  );
}

/** Finds what a later step would refuse, before the first one writes anything. The flow itself checks the tasks. */
function refuseUnrunnable({ modelPath, inputTokens, outputTokens }: FlowPlan): void {
  const checkpoint = openModel(modelPath);
  try {
    openTokenizer(checkpoint, {});
    const { maxPositionEmbeddings } = checkpoint.config;
    if (inputTokens + outputTokens > maxPositionEmbeddings) {
      throw new MillraceError(
        "invalid_option",
        `--input-tokens ${inputTokens} and --output-tokens ${outputTokens} are ${inputTokens + outputTokens} tokens together; the model's context holds ${maxPositionEmbeddings}. Lower one of them.`,
        { param: "--input-tokens" },
      );
    }
  } finally {
    checkpoint.close();
  }
}

function flowTools(signal: AbortSignal, solver: Solver): FlowTools {
  return {
    openModel,
    openTaskModel: (modelPath, dtype) => openLocalModel(modelPath, engineDefaults(dtype)),
    createLauncher: (side) =>
      new ServerLauncher([side.path, "--dtype", side.dtype, "--served-model-name", side.name], signal),
    solver,
    progress: new TerminalProgress(),
    signal,
  };
}
