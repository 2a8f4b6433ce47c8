import path from "node:path";
import type { Command } from "commander";
import { z } from "zod";
import { MillraceError } from "../../base/errors.ts";
import { stoppable } from "../../base/progress.ts";
import { formatBytes, formatDuration } from "../../base/units.ts";
import { type Component, field, flagName } from "../../config/component.ts";
import { bytes, integer, oneOf } from "../../config/value-schemas.ts";
import { modelNameOf } from "../../formats/model-name.ts";
import { loadTokenizerSource } from "../../formats/tokenizer-source.ts";
import { createOps } from "../../kernels/create-ops.ts";
import { createFastestSolver } from "../../kernels/create-solver.ts";
import { isGgufScheme } from "../../quantize/gguf/gguf-plan.ts";
import { isCalibrated, methodNames, type QuantizationMethod } from "../../quantize/methods.ts";
import { checkTarget } from "../../quantize/output-folder.ts";
import { type QuantizePlan, type SchemeName, schemeNames } from "../../quantize/plan.ts";
import { quantize } from "../../quantize/quantize.ts";
import { readRecipe } from "../../quantize/recipe.ts";
import type { QuantizationManifest } from "../../records/quantization-manifest.ts";
import {
  type BudgetRequest,
  budgetSettings,
  planBudget,
  printSearch,
  readBudget,
  readQuestion,
  runBudget,
} from "../budget.ts";
import { calibrationSettings, openCalibration } from "../calibration.ts";
import { refuseIdleFlags } from "../contradicting-flags.ts";
import { type CommandHelp, createCommand } from "../create-command.ts";
import { listenForInterrupt } from "../interrupt.ts";
import { addModelArgument } from "../model-argument.ts";
import { openModel } from "../model-source.ts";
import { readText } from "../read-text.ts";
import { addSettings, readGiven, readSettings } from "../settings.ts";
import { printLine, printNote, TerminalProgress } from "../terminal.ts";

/** Settings that say how a model is quantised; the flow takes them too. */
export const schemeSettings = {
  scheme: field(
    "--scheme <name>",
    oneOf(schemeNames).default("w8a8"),
    "bits of the weights and of what goes into them",
  ),
  groupSize: field(
    "--group-size <n>",
    integer(1).optional(),
    "columns that share a scale: 32, 64 or 128 (default: the largest that divides every linear)",
  ),
  dtype: field(
    "--dtype <type>",
    oneOf(["auto", "bfloat16", "float16", "float32"]).default("auto"),
    "round the weights to this type first; needed when the model already holds integers",
  ),
} satisfies Component;

const own = {
  recipe: field(
    "--recipe <file>",
    z.string().optional(),
    "a recipe of llm-compressor (YAML) in place of --scheme, --group-size, --asymmetric, --method, --smooth, --head and --ignore",
  ),
  format: field(
    "--format <name>",
    oneOf(["auto", "compressed-tensors", "gguf"]).default("auto"),
    "the file to write; the name of the scheme says it too, and must agree. A budget tries both unless told",
  ),
  asymmetric: field(
    "--asymmetric",
    z.boolean().default(false),
    "a zero point beside each scale (4 bits and below)",
  ),
  method: field(
    "--method <name>",
    oneOf(methodNames).default("estimate"),
    "how scales and integers are found: rtn takes the range of each group, mse searches for the least squared error, estimate weighs it by what the weights before tell of the inputs, imatrix by the inputs of a text, gptq passes errors on",
  ),
  smooth: field(
    "--smooth",
    z.boolean().default(false),
    "first move size between inputs and weights where that is expected to help (as SmoothQuant and AWQ do)",
  ),
  head: field(
    "--head <type>",
    oneOf(["bf16", "int8"]).optional(),
    "form of the head, and of an embedding that shares its matrix (default: bf16; in GGUF what llama.cpp takes for the scheme). This engine reads int8, not every reader of compressed-tensors does",
  ),
  kvCache: field(
    "--kv-cache <type>",
    oneOf(["int8"]).optional(),
    "write into config.json that the KV cache be int8 (kv_cache_scheme, a scale for each token as it comes); this engine follows it",
  ),
  ignore: field(
    "--ignore <module>",
    z.array(z.string()).default([]),
    'a linear that stays dense, or "re:" and a pattern (may be repeated)',
  ),
  maxMemory: field(
    "--max-memory <size>",
    bytes.optional(),
    "the most memory to take, such as 1GiB; stated before the start, refused when it is too little",
  ),
  out: field("--out <folder>", z.string().optional(), "folder to make (default: MODEL-SCHEME here)"),
  json: field("--json", z.boolean().default(false), "print the manifest as JSON"),
} satisfies Component;

const help: CommandHelp = {
  summary: "Make a model smaller by rounding its weights to integers",
  details: `
Schemes named after bits write a compressed-tensors folder that Millrace, transformers and vLLM read; there head and
embedding stay bf16. w8a8 keeps nearly everything; w4a16 halves the size again; w3a16 and w2a16 lose much. Schemes named
as llama-quantize names them write a folder with one GGUF file that Millrace and llama.cpp read. What is written is read
back to check it. A run that was stopped or killed goes on when the same command is given again.

--budget tries schemes, groups, zero points and heads by size, measures each with the kernels that serve, and keeps the
smallest that is within; where it bounds only size or speed, the best of those within. Figures stay in OUT.search, from
which a stopped search, or one with another budget, goes on.`,

  examples: [
    "millrace quantize ./model --scheme w8a8",
    "millrace quantize ./model --scheme w4a16 --group-size 32 --head int8 --out ./model-w4",
    'millrace quantize ./model --scheme w4a16 --ignore "re:.*down_proj" --max-memory 1GiB',
    "millrace quantize ./model --scheme w4a16 --method gptq --calibration text.txt",
    "millrace quantize ./model --format gguf --scheme q4_k_m",
    "millrace quantize ./model --recipe recipe.yaml --calibration text.txt",
    "millrace quantize model.gguf --scheme w8a8 --dtype bfloat16",
    'millrace quantize ./model --budget "kl<=0.05" --text wiki.txt --calibration text.txt',
  ],
};

export function quantizeCommand(): Command {
  const command = addModelArgument(createCommand("quantize", help));
  for (const part of [schemeSettings, own]) addSettings(command, part);
  addSettings(command, calibrationSettings, "Calibration:");
  addSettings(command, budgetSettings, "Search:");
  return command.action(runQuantize);
}

async function runQuantize(modelPath: string, _options: unknown, command: Command): Promise<void> {
  const settings = readBudget(command);
  if (settings.budget !== undefined) {
    await runSearch(modelPath, { ...settings, budget: settings.budget }, command);
    return;
  }
  refuseIdleFlags(
    command,
    budgetSettings,
    "it is of a search, which --budget asks for. Give --budget, or leave it out.",
  );
  const { dtype } = readSettings(command, schemeSettings);
  const { out, json, recipe, maxMemory, kvCache } = readSettings(command, own);
  const chosen = recipe === undefined ? planOfFlags(command) : planOfRecipe(command, recipe);
  const outPath = folderOf(out ?? `${path.basename(modelNameOf(modelPath))}-${chosen.scheme}`);
  const wishes = kvCache === undefined ? {} : { kvCache };
  const calibrating = readSettings(command, calibrationSettings);
  const tokenizer = calibrating.tokenizer === undefined ? null : loadTokenizerSource(calibrating.tokenizer);
  const plan: QuantizePlan = {
    ...chosen,
    ...wishes,
    dtype,
    tokenizer,
    maxMemoryBytes: maxMemory ?? null,
    outPath,
  };
  const checkpoint = openModel(modelPath);
  const calibration = isCalibrated(chosen.method, chosen.smooth)
    ? await openCalibration(checkpoint, calibrating)
    : noteIdleCalibration(calibrating.calibration, chosen.method);
  noteIdleSize(command, calibration === null ? undefined : calibrating.calibration);
  const solver = calibration?.solver ?? createFastestSolver(calibrating.threads);
  const interrupt = listenForInterrupt(
    `What is written so far is in ${outPath}.partial. Run the same command again to go on.`,
  );
  try {
    const manifest = await quantize(checkpoint, plan, {
      progress: stoppable(new TerminalProgress(), interrupt.signal),
      openModel,
      calibration,
      solver,
      openOps: () => createOps({ numThreads: calibrating.threads, backend: "auto" }).ops,
      onMemory: ({ peakBytes }) => printNote(`This takes at most ${formatBytes(peakBytes)} of memory.`),
    });
    if (json) printLine(JSON.stringify(manifest, null, 2));
    else printManifest(manifest, outPath);
  } finally {
    interrupt.release();
    solver.close();
    calibration?.ops.close();
    checkpoint.close();
  }
}

/**
 * Where a new folder is to be, links resolved, so that what is made beside it is on the same file system. Refuses what looks
 * like the name of a file: weights lie in a folder, beside their manifest.
 */
function folderOf(out: string): string {
  const ending = /\.(gguf|safetensors)$/.exec(out)?.[0];
  if (ending === undefined) return checkTarget(out, false);
  throw new MillraceError(
    "invalid_option",
    `--out is ${out}, but quantize writes a folder: the weights' file, and beside it what belongs to them. Give a name without ${ending}.`,
    { param: "--out" },
  );
}

type ChosenPlan = Omit<QuantizePlan, "dtype" | "maxMemoryBytes" | "outPath"> &
  Required<Pick<QuantizePlan, "method" | "smooth">>;

/** A text that nothing asks for is not read: `self` would take minutes. */
function noteIdleCalibration(source: string | undefined, method: QuantizationMethod): null {
  if (source !== undefined) {
    printNote(
      `--calibration is not used: ${method} without --smooth looks at the weights alone. Methods that use it are ${methodNames.filter((name) => isCalibrated(name, false)).join(" and ")}.`,
    );
  }
  return null;
}

/** Sequences of a file of ids are as long and as many as they are. */
function noteIdleSize(command: Command, source: string | undefined): void {
  const isGiven = readGiven(command, calibrationSettings)["calibrationSize"] !== undefined;
  if (!isGiven || (source !== undefined && !source.endsWith(".json"))) return;
  const why = source === undefined ? "there is no calibration" : `${source} holds token ids, cut already`;
  printNote(`--calibration-size is not used: ${why}.`);
}

function planOfFlags(command: Command): ChosenPlan {
  const { scheme, groupSize } = readSettings(command, schemeSettings);
  const { format, asymmetric, method, smooth, head, ignore } = readSettings(command, own);
  checkFormat(format, scheme);
  const headPlan = head === undefined ? {} : { head };
  return {
    scheme,
    groupSize: groupSize ?? null,
    symmetric: !asymmetric,
    method,
    smooth,
    ignore,
    ...headPlan,
  };
}

/** Flags of what a recipe decides. */
const decidedByRecipe = ["scheme", "groupSize", "format", "asymmetric", "method", "smooth", "head", "ignore"];

function planOfRecipe(command: Command, file: string): ChosenPlan {
  const given = { ...readGiven(command, schemeSettings), ...readGiven(command, own) };
  const both = decidedByRecipe.find((key) => key in given);
  if (both !== undefined) {
    const flag = flagName({ ...schemeSettings, ...own }[both as keyof typeof own].flag);
    throw new MillraceError(
      "invalid_option",
      `${flag} is given beside --recipe, which decides it. Give one of them. Leave ${flag} out, or change the recipe.`,
      { param: flag },
    );
  }
  const { plan, notes } = readRecipe(readText(file), file);
  for (const note of notes) printNote(note);
  return plan;
}

/** Throws `invalid_scheme` for a scheme of another format than the one that was asked for. */
function checkFormat(format: "auto" | "compressed-tensors" | "gguf", scheme: SchemeName): void {
  const own = isGgufScheme(scheme) ? "gguf" : "compressed-tensors";
  if (format === "auto" || format === own) return;
  const names = schemeNames.filter((name) => isGgufScheme(name) === (format === "gguf"));
  throw new MillraceError(
    "invalid_scheme",
    `--format is ${format}, but ${scheme} is a scheme of ${own}. Schemes of ${format}: ${names.join(", ")}. Choose one of them with --scheme (w8a8 where it is left out), or leave --format out.`,
    { param: "--scheme" },
  );
}

/** What a search chooses, or has no place for. */
const searched = [
  "scheme",
  "groupSize",
  "recipe",
  "asymmetric",
  "method",
  "smooth",
  "head",
  "kvCache",
] as const;

async function runSearch(
  modelPath: string,
  settings: BudgetRequest["settings"],
  command: Command,
): Promise<void> {
  const given = readGiven(command, { ...schemeSettings, ...own });
  const fixed = searched.find((key) => given[key] !== undefined);
  if (fixed !== undefined) {
    const name = flagName({ ...schemeSettings, ...own }[fixed].flag);
    throw new MillraceError(
      "invalid_option",
      `${name} is given beside --budget, which makes plans of its own. Leave one of them out.`,
      { param: name },
    );
  }
  const { dtype } = readSettings(command, schemeSettings);
  const { out, json, ignore, maxMemory, format } = readSettings(command, own);
  if (settings.mixed && format === "compressed-tensors") {
    throw new MillraceError(
      "invalid_option",
      "--mixed writes GGUF files, but --format is compressed-tensors. Leave one of them out.",
      { param: "--format" },
    );
  }
  const calibrationValues = readSettings(command, calibrationSettings);
  const outPath = folderOf(out ?? `${path.basename(modelNameOf(modelPath))}-budget`);
  const checkpoint = openModel(modelPath);
  const calibration = await openCalibration(checkpoint, calibrationValues);
  const solver = calibration?.solver ?? createFastestSolver(calibrationValues.threads);
  const interrupt = listenForInterrupt(
    `What was measured is in ${outPath}.search. Run the same command again to go on.`,
  );
  try {
    const { tokenizer } = calibrationValues;
    const question = await readQuestion({
      modelPath,
      checkpoint,
      settings,
      format,
      tokenizer,
      dtype,
      ignore,
      maxMemoryBytes: maxMemory ?? null,
    });
    const means = { tokenizer, calibration, solver, signal: interrupt.signal };
    const record = await runBudget(planBudget(question, outPath), means);
    if (json) printLine(JSON.stringify(record, null, 2));
    else printSearch(record, outPath);
  } finally {
    interrupt.release();
    solver.close();
    calibration?.ops.close();
    checkpoint.close();
  }
}

function printManifest(manifest: QuantizationManifest, outPath: string): void {
  for (const note of manifest.notes) printNote(note);
  printLine(`${outPath}`);
  printLine(`size            ${formatBytes(manifest.source.sizeBytes)} → ${formatBytes(manifest.sizeBytes)}`);
  const { tensors } = manifest;
  printErrors(
    "weights' error ",
    tensors.map(({ relativeError }) => relativeError),
  );
  const outputs = tensors.flatMap(({ outcome }) => outcome?.outputError ?? []);
  if (outputs.length > 0)
    printErrors("outputs' error ", outputs, ", on calibration tokens that were held out");
  printLine(`time            ${formatDuration(manifest.origin.durationMs)}`);
}

function printErrors(label: string, errors: readonly number[], where = ""): void {
  const mean = errors.reduce((sum, error) => sum + error, 0) / Math.max(1, errors.length);
  const worst = errors.reduce((most, error) => Math.max(most, error), 0);
  printLine(
    `${label} mean ${mean.toPrecision(3)}, worst ${worst.toPrecision(3)} over ${errors.length} linears${where}`,
  );
}
