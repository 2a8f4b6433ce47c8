import path from "node:path";
import type { Command } from "commander";
import { z } from "zod";
import { isMillraceError, MillraceError } from "../base/errors.ts";
import { stoppable } from "../base/progress.ts";
import { formatBytes } from "../base/units.ts";
import { type Component, field, type Values } from "../config/component.ts";
import { integer } from "../config/value-schemas.ts";
import { checkTasks, type TaskChoice } from "../evaluate/check-tasks.ts";
import { cutWindows } from "../evaluate/divergence/windows.ts";
import { sha256 } from "../evaluate/sha256.ts";
import { parseBudget } from "../flow/budget/budget.ts";
import type {
  BudgetPlan,
  BudgetQuestion,
  BudgetTools,
  LogitVariants,
  OpenedLogits,
} from "../flow/budget/budget-plan.ts";
import type { LadderFormat } from "../flow/budget/ladder.ts";
import { searchBudget } from "../flow/budget/search-budget.ts";
import { createEngineLauncher } from "../flow/engines/create-launcher.ts";
import type { WeightDtype } from "../flow/flow-plan.ts";
import type { Checkpoint, ModelWeights } from "../formats/checkpoint.ts";
import { modelNameOf } from "../formats/model-name.ts";
import { loadTokenizerSource } from "../formats/tokenizer-source.ts";
import { createOps } from "../kernels/create-ops.ts";
import { keepPacked } from "../kernels/keep-packed.ts";
import type { Solver } from "../kernels/solver.ts";
import type { CalibrationTools } from "../quantize/calibration/collect-statistics.ts";
import { readQuantizationManifest } from "../quantize/earlier-result.ts";
import type { BudgetSearch, BudgetTrial } from "../records/budget-search.ts";
import { describeKernels, engineDefaults } from "./engine-defaults.ts";
import { openLocalModel } from "./local-model.ts";
import { openModel, openTokenizer } from "./model-source.ts";
import { openLogits } from "./open-logits.ts";
import { readText } from "./read-text.ts";
import { readSettings } from "./settings.ts";
import { taskChoiceOf, taskSettings } from "./task-choice.ts";
import { formatTable, printLine, printNote, TerminalProgress } from "./terminal.ts";

const { limit, split, numFewshot, data } = taskSettings;

export const budgetSettings = {
  budget: field(
    "--budget <limits>",
    z.string().optional(),
    'find scheme, groups and head: "kl<=0.05", "ppl<=1.01x", "recovery>=99% on arc_easy", "size<=95MB", "speed>=1.5x", or several joined by commas',
  ),
  text: field(
    "--text <file>",
    z.string().optional(),
    "text that quality is measured on, not that of --calibration",
  ),
  mixed: field(
    "--mixed",
    z.boolean().default(false),
    "with --budget: a GGUF file in which each matrix has the type that its measured sensitivity asks for; needs --calibration",
  ),
  maxTokens: field(
    "--max-tokens <n>",
    integer(1).default(4096),
    "predicted tokens of that text, from its start",
  ),
  limit,
  split,
  numFewshot,
  data,
} satisfies Component;

/** Tokens of a window, as `millrace diff` has them by default. */
const windowSize = 512;

/**
 * Over 4,096 tokens of SmolLM2 the standard error of a mean KL is 1 to 5 % of it, and it grows as the root of fewer: twice that
 * here.
 */
const fewTokens = 1000;

/** A model that takes longer to load is not what a search should try again and again. */
const readyTimeoutMs = 600_000;

/** What a command asks of a search. */
export interface BudgetRequest {
  readonly modelPath: string;
  readonly checkpoint: Checkpoint;
  readonly settings: Values<typeof budgetSettings> & { readonly budget: string };
  readonly format: LadderFormat;
  readonly tokenizer: string | undefined;
  readonly dtype: WeightDtype;
  readonly ignore: readonly string[];
  readonly maxMemoryBytes: number | null;
}

/** What a search takes over from the command that it belongs to. */
export interface BudgetMeans {
  readonly tokenizer: string | undefined;
  readonly calibration: CalibrationTools | null;
  readonly solver: Solver;
  readonly signal: AbortSignal;
}

/** The settings of a budget; `budget` is undefined where none is asked for. Throws `invalid_option`. */
export function readBudget(command: Command): Values<typeof budgetSettings> {
  return readSettings(command, budgetSettings);
}

/** Reads the text and the files of the tasks that a budget is measured on. Throws `invalid_option`, `file_not_found`. */
export async function readQuestion(request: BudgetRequest): Promise<BudgetQuestion> {
  const { modelPath, checkpoint, settings, format, dtype, ignore, maxMemoryBytes } = request;
  const budget = parseBudget(settings.budget);
  if (settings.text === undefined) {
    throw new MillraceError(
      "invalid_option",
      "--budget measures quality on a text, but none was given. Give one of a few pages with --text.",
      { param: "--text" },
    );
  }
  const text = readText(settings.text);
  const { tokenizer } = openTokenizer(checkpoint, { tokenizer: request.tokenizer });
  const { windows } = cutWindows(tokenizer, text, { size: windowSize, maxTokens: settings.maxTokens });
  noteFewTokens(windows);
  const names = budget.terms.flatMap(({ task }) => (task === null ? [] : [task]));
  const tasks =
    names.length === 0 ? null : await taskChoiceOf({ ...settings, tasks: names, dataRevision: undefined });
  return {
    modelPath,
    modelName: modelNameOf(modelPath),
    budget,
    dtype,
    tokenizer: request.tokenizer === undefined ? null : loadTokenizerSource(request.tokenizer),
    ignore,
    maxMemoryBytes,
    windows,
    format,
    isMixed: settings.mixed,
    text: { file: path.basename(settings.text), sha256: sha256(text) },
    tasks,
    taskFiles: tasks === null ? {} : checkTasks(tasks satisfies TaskChoice),
    kernels: describeKernels(),
  };
}

function noteFewTokens(windows: readonly Int32Array[]): void {
  const count = windows.reduce((sum, { length }) => sum + length - 1, 0);
  if (count >= fewTokens) return;
  printNote(
    `Quality is measured on ${count} predicted tokens alone; the errors of such figures are large. Give a text of ${fewTokens} or more with --text, and --max-tokens no smaller.`,
  );
}

/** A question with the folder that is to hold its answer. */
export function planBudget(question: BudgetQuestion, outPath: string): BudgetPlan {
  return { ...question, outPath, searchPath: `${outPath}.search` };
}

/** Makes the model that a budget asks for, telling of each candidate on the way. */
export async function runBudget(plan: BudgetPlan, means: BudgetMeans): Promise<BudgetSearch> {
  const trials: BudgetTrial[] = [];
  try {
    return await searchBudget(plan, budgetTools(means), (trial) => {
      trials.push(trial);
      printNote(describeTrial(trial));
    });
  } catch (error) {
    if (isMillraceError(error) && error.code === "budget_unmet" && trials.length > 0)
      printNote(trialTable(trials, null));
    throw error;
  }
}

function budgetTools({ tokenizer, calibration, solver, signal }: BudgetMeans): BudgetTools {
  const engine = tokenizer === undefined ? "millrace" : `millrace --tokenizer "${tokenizer}"`;
  return {
    openModel,
    openLogits: openSource,
    openVariants,
    openTaskModel: (modelPath, dtype) => openLocalModel(modelPath, engineDefaults(dtype), { tokenizer }),
    createLauncher: (side) => createEngineLauncher({ ...side, engine }, { readyTimeoutMs, signal }),
    calibration,
    solver,
    progress: stoppable(new TerminalProgress(), signal),
    signal,
  };
}

function openSource(
  checkpoint: ModelWeights,
  dtype: WeightDtype,
  windows: readonly Int32Array[],
): OpenedLogits {
  const { backend, isa, threads, activations } = engineDefaults(dtype);
  const { ops } = createOps({ backend, isa, numThreads: threads });
  try {
    const source = openLogits(ops, checkpoint, { precision: { dtype, activations }, windows });
    return { source, close: () => ops.close() };
  } catch (error) {
    ops.close();
    throw error;
  }
}

function openVariants(windows: readonly Int32Array[]): LogitVariants {
  const { backend, isa, threads, activations, dtype } = engineDefaults("auto");
  const { ops } = createOps({ backend, isa, numThreads: threads });
  const keeping = keepPacked(ops);
  const precision = { dtype, activations };
  return { open: (model) => openLogits(keeping, model, { precision, windows }), close: () => ops.close() };
}

function describeTrial({ name, figures, broken }: BudgetTrial): string {
  const verdict = broken.length === 0 ? "within the budget" : `not ${broken.join(", ")}`;
  return `${name}: ${formatBytes(figures.sizeBytes)}, KL ${figures.kl.toPrecision(3)}, ${verdict}`;
}

const header = [
  "candidate",
  "size",
  "mean KL",
  "same top",
  "ppl ratio",
  "tok/s 1",
  "tok/s 16",
  "memory",
  "broken",
];

/** Notes on the model that was taken, and the table of all that were tried. */
export function printSearch({ trials, chosen }: BudgetSearch, outPath: string): void {
  for (const note of readQuantizationManifest(outPath)?.notes ?? []) printNote(note);
  printLine(trialTable(trials, chosen));
  printLine(`* ${outPath}`);
}

/** A row for each candidate, smallest first; the chosen one has a star. */
function trialTable(trials: readonly BudgetTrial[], chosen: string | null): string {
  const tasks = Object.keys(trials[0]?.figures.recovery ?? {});
  const sorted = trials.toSorted((a, b) => a.figures.sizeBytes - b.figures.sizeBytes);
  const rows = sorted.map(({ name, figures, broken }) => [
    name === chosen ? `${name} *` : name,
    formatBytes(figures.sizeBytes),
    `${figures.kl.toFixed(4)}${figures.klError === null ? "" : ` ± ${figures.klError.toFixed(4)}`}`,
    `${(100 * figures.topAgreement).toFixed(1)}%`,
    figures.perplexityRatio.toFixed(4),
    figures.tokensPerSecond["1"]?.toFixed(1) ?? "–",
    figures.tokensPerSecond["16"]?.toFixed(1) ?? "–",
    figures.peakMemoryBytes === null ? "–" : formatBytes(figures.peakMemoryBytes),
    ...tasks.map((task) => `${(100 * (figures.recovery[task] ?? 0)).toFixed(1)}%`),
    broken.join(", "),
  ]);
  return formatTable([...header.slice(0, -1), ...tasks, header.at(-1)!], rows);
}
