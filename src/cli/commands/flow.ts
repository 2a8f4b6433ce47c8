import path from "node:path";
import type { Command } from "commander";
import { MillraceError } from "../../base/errors.ts";
import { lockFolder } from "../../base/folder-lock.ts";
import { packagePath } from "../../base/package-folder.ts";
import { formatDuration } from "../../base/units.ts";
import type { ConsoleDialect } from "../../bench/dialects/load-exports.ts";
import { checkTasks } from "../../evaluate/check-tasks.ts";
import { parseCandidates } from "../../flow/candidates.ts";
import { checkEngines, createEngineLauncher, isUrl } from "../../flow/engines/create-launcher.ts";
import type { FlowPlan, FlowTools, ServedSide } from "../../flow/flow-plan.ts";
import { runFlow } from "../../flow/run-flow.ts";
import { consoleFile } from "../../flow/serve-and-load.ts";
import { modelNameOf } from "../../formats/model-name.ts";
import { createFastestSolver } from "../../kernels/create-solver.ts";
import type { Solver } from "../../kernels/solver.ts";
import type { ComparisonRecord, ServingRecord } from "../../records/comparison.ts";
import { parseSlo } from "../../records/slo.ts";
import { renderMarkdown } from "../../report/markdown.ts";
import { type CommandHelp, createCommand } from "../create-command.ts";
import { describeKernels, engineDefaults } from "../engine-defaults.ts";
import { withinBudget } from "../flow-budget.ts";
import {
  candidateSettings,
  choiceSettings,
  type FlowSettings,
  flowLoadSettings,
  flowRunSettings,
  readFlowFile,
  readFlowSettings,
  writeFlowFile,
} from "../flow-settings.ts";
import { refuseIdleFlowFlags } from "../idle-flow-flags.ts";
import { listenForInterrupt } from "../interrupt.ts";
import { openLocalModel } from "../local-model.ts";
import { addModelArgument, modelHelp } from "../model-argument.ts";
import { openModel, openTokenizer } from "../model-source.ts";
import { checkOutputFolder } from "../output-folder.ts";
import { readText } from "../read-text.ts";
import { addSettings, readSettings } from "../settings.ts";
import { taskChoiceOf, taskSettings } from "../task-choice.ts";
import { printLine, TerminalProgress } from "../terminal.ts";
import { type LiveView, watchFlow } from "../watch/live-view.ts";
import { flowRerunCommand } from "./flow-rerun.ts";

const embeddedModel = packagePath("models/pebble/model");
const embeddedTasks = ["pebble", "pebble_text"];

const help: CommandHelp = {
  summary: "Find out which compression of a model to run",
  details: `
Makes each scheme of --schemes, measures what it costs in quality, serves and load-tests the model and all of them, and
writes one report that begins with what to use. One model is in memory at a time. Every round starts, loads and stops
each of them. Without a model: the embedded demonstration model, offline. Finished steps are not repeated when it runs
again. --tasks none leaves the quality out. OUT/flow.yaml holds what was asked for.`,
  examples: [
    "millrace flow",
    "millrace flow ./model --preset standard --schemes w8a8,w4a8-g32 --data ./data",
    "millrace flow ./model --schemes w4a16 --tasks arc_easy,wikitext --limit wikitext=4,arc_easy=100 --data ./data",
    "millrace flow model.gguf --schemes w8a8 --dtype bfloat16 --tasks none --use-case chat",
    'millrace flow ./model --schemes q4_k_m --engine millrace --engine "llama.cpp -t 2" --tasks none',
    "millrace flow --config flow.yaml",
  ],
};

export function flowCommand(): Command {
  const command = addModelArgument(
    createCommand("flow", help),
    "[model]",
    `${modelHelp} (default: the embedded model)`,
  );
  addSettings(command, flowRunSettings);
  addSettings(command, choiceSettings, "How long:");
  addSettings(command, candidateSettings, "What is compared:");
  addSettings(command, taskSettings, "Quality:");
  addSettings(command, flowLoadSettings, "Load:");
  // So that what stands behind "rerun" is the rerun's, where both have a flag of that name.
  command
    .enablePositionalOptions()
    .addCommand(
      flowRerunCommand((file, settings, options) =>
        runSettings(file.model, settings, { ...options, watch: false }),
      ),
    );
  return command.action(runFlowCommand);
}

async function runFlowCommand(given: string | undefined, _options: unknown, command: Command): Promise<void> {
  const { config, out, watch, apiKey } = readSettings(command, flowRunSettings);
  const file = config === undefined ? null : readFlowFile(config);
  const settings = readFlowSettings(command, file);
  refuseIdleFlowFlags(command, settings);
  await runSettings(given ?? file?.model, settings, { out, watch, apiKey });
}

interface RunOptions {
  readonly out: string | undefined;
  /** Whether a page shows the figures as they come. */
  readonly watch: boolean;
  readonly apiKey: string | undefined;
}

async function runSettings(
  model: string | undefined,
  settings: FlowSettings,
  options: RunOptions,
): Promise<ComparisonRecord> {
  const asked = await planOf(model, settings, options.out);
  checkOutputFolder(asked.outPath);
  refuseUnrunnable(asked);
  // Two flows at once would also load the machine for each other, and later runs would keep those figures.
  const lock = lockFolder(asked.outPath);
  try {
    writeFlowFile(asked.outPath, asked.modelPath, settings);
    return await runPlan(asked, settings, options);
  } finally {
    lock.release();
  }
}

async function runPlan(
  asked: FlowPlan,
  settings: FlowSettings,
  { watch, apiKey }: RunOptions,
): Promise<ComparisonRecord> {
  const started = performance.now();
  const interrupt = listenForInterrupt(
    "Run the same command again: finished steps are kept, and an evaluation goes on from the answers it has.",
  );
  const solver = createFastestSolver(0);
  const live = watch ? await watchFlow(asked.modelName) : null;
  try {
    const shared = {
      signal: interrupt.signal,
      solver,
      readyTimeoutMs: settings.candidates.readyTimeout * 1000,
      apiKey,
    };
    const found = await withinBudget(asked, settings, shared);
    const plan = { ...asked, candidates: [...asked.candidates, ...found] };
    const loads: NamedServing[] = [];
    const onServing = ({ name }: ServedSide, serving: ServingRecord): void =>
      void loads.push({ name, serving });
    const record = await runFlow(plan, { ...flowTools({ ...shared, live }), onServing });
    live?.finish(record);
    printLine(renderMarkdown(record));
    if (settings.load.console !== "none") printLine(consoleTexts(settings.load.console, loads));
    if (record.recommendation !== null) printLine(record.recommendation.text);
    const report = path.join(asked.outPath, "comparison.html");
    printLine(`Done in ${formatDuration(performance.now() - started)}. Report: ${report}`);
    return record;
  } finally {
    await live?.close();
    solver.close();
    interrupt.release();
  }
}

interface NamedServing {
  readonly name: string;
  readonly serving: ServingRecord;
}

/** Every load test of the flow as another tool prints it. */
function consoleTexts(dialect: ConsoleDialect, loads: readonly NamedServing[]): string {
  return loads
    .map(({ name, serving: { folder, round } }) => {
      const text = readText(path.join(folder, consoleFile(dialect)));
      return `${name}, round ${round}\n\n${text}`;
    })
    .join("\n");
}

async function planOf(
  model: string | undefined,
  { candidates, tasks, load }: FlowSettings,
  out: string | undefined,
): Promise<FlowPlan> {
  const modelPath = path.resolve(model ?? embeddedModel);
  // What is missing first of all is told first.
  openModel(modelPath).close();
  const modelName = modelNameOf(modelPath);
  const isEmbedded = modelPath === path.resolve(embeddedModel);
  const { schemes, engine } = candidates;
  checkEngines(engine);
  checkAddresses(engine, schemes);
  const { concurrency: concurrencies, rounds, slo, requestTimeout, console: _, ...shape } = load;
  const choice = await taskChoiceOf({ ...tasks, tasks: [...tasksOfFlow(isEmbedded, tasks.tasks)] });
  return {
    modelPath,
    modelName,
    candidates: parseCandidates(schemes),
    dtype: schemes.includes("bf16") && candidates.dtype === "auto" ? "bfloat16" : candidates.dtype,
    engines: engine,
    ...choice,
    taskFiles: checkTasks(choice),
    load: { concurrencies, requestTimeoutMs: requestTimeout * 1000, ...shape },
    numRounds: rounds,
    slo: slo === undefined ? [] : parseSlo(slo),
    pricePerHour: candidates.pricePerHour ?? null,
    minRecovery: candidates.minRecovery,
    outPath: path.resolve(out ?? path.join("out", path.basename(modelName))),
    kernels: describeKernels(),
  };
}

/** An address serves what it serves: nothing that a flow makes can be put there. */
function checkAddresses(engines: readonly string[], schemes: readonly string[]): void {
  const made = schemes.filter((scheme) => scheme !== "bf16");
  if (made.length === 0 || !engines.every(isUrl)) return;
  throw new MillraceError(
    "invalid_option",
    `--engine ${engines[0]} is measured as it stands, so ${made.join(", ")} would not be served by anything. Take --schemes bf16, or add --engine millrace, or command:"…" that starts the server with {model}.`,
    { param: "--engine" },
  );
}

function tasksOfFlow(isEmbedded: boolean, tasks: readonly string[] | undefined): readonly string[] {
  if (tasks !== undefined) return tasks.length === 1 && tasks[0] === "none" ? [] : tasks;
  if (isEmbedded) return embeddedTasks;
  throw new MillraceError(
    "invalid_option",
    "There is no --tasks. Say what to measure, such as --tasks arc_easy,wikitext --data FOLDER, take --preset standard, which has tasks, or --tasks none to leave the quality out.",
    { param: "--tasks" },
  );
}

/** Finds what a later step would refuse, before the first one writes anything. */
function refuseUnrunnable({ modelPath, load }: FlowPlan): void {
  const { inputTokens, outputTokens, sweep, concurrencies, atOnce } = load;
  if (sweep > 0 && (!concurrencies.includes(1) || atOnce.length === 0)) {
    throw new MillraceError(
      "invalid_option",
      `--sweep ${sweep} takes its rates between what one user reaches and what all at once reach, which this load does not measure. Give --concurrency 1 and --at-once N too.`,
      { param: "--sweep" },
    );
  }
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

interface Shared {
  readonly signal: AbortSignal;
  readonly solver: Solver;
  readonly readyTimeoutMs: number;
  readonly apiKey: string | undefined;
  readonly live: LiveView | null;
}

function flowTools({ signal, solver, readyTimeoutMs, apiKey, live }: Shared): FlowTools {
  const terminal = new TerminalProgress();
  return {
    openModel,
    openTaskModel: (modelPath, dtype) => openLocalModel(modelPath, engineDefaults(dtype)),
    createLauncher: (side) => createEngineLauncher(side, { readyTimeoutMs, apiKey, signal }),
    solver,
    progress: live === null ? terminal : live.follow(terminal),
    signal,
    ...(live === null ? {} : { onStage: (side, stage) => live.addStage(side.name, stage) }),
  };
}
