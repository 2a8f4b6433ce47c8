import type { Command } from "commander";
import { z } from "zod";
import { MillraceError } from "../../base/errors.ts";
import { type Progress, silentProgress } from "../../base/progress.ts";
import { countOf } from "../../base/units.ts";
import { type Component, field, type Values } from "../../config/component.ts";
import { engineSettings, precisionSettings, schedulerSettings } from "../../config/engine-settings.ts";
import { integerList, tokenCount } from "../../config/value-schemas.ts";
import type { EngineOptions } from "../../engine/engine-options.ts";
import { adviseKv, adviseSpeed, adviseWeights } from "../../engine/plan/advice.ts";
import { type ModelMemory, type ModelPlanInput, planModelMemory } from "../../engine/plan/model-memory.ts";
import { type ModelSpeed, planSpeed, withoutSpeeds } from "../../engine/plan/model-speed.ts";
import { timeSteps } from "../../engine/plan/time-steps.ts";
import { openDraft } from "../../engine/speculation/load-speculation.ts";
import type { Checkpoint } from "../../formats/checkpoint.ts";
import { createOps, type NativeStatus, nativeStatus } from "../../kernels/create-ops.ts";
import { freeMemoryBytes } from "../../kernels/free-memory.ts";
import type { Ops } from "../../kernels/ops.ts";
import { type CommandHelp, createCommand } from "../create-command.ts";
import { engineOptionsOf } from "../engine-options.ts";
import { addModelArgument } from "../model-argument.ts";
import { openModel } from "../model-source.ts";
import { planRecord } from "../plan-record.ts";
import { type PlannedMachine, printMemory, printPrecisions, printSpeed } from "../plan-table.ts";
import { addSettings, readSettings } from "../settings.ts";
import { printLine, printNote, TerminalProgress } from "../terminal.ts";

const own = {
  context: field(
    "--context <tokens>",
    tokenCount(1).optional(),
    "tokens of a sequence that the KV cache should hold, such as 4096 or 32k (default: those of --input-tokens and --output-tokens)",
  ),
  concurrency: field(
    "--concurrency <list>",
    integerList.prefault("1,8,32"),
    "numbers of requests in flight to foresee",
  ),
  inputTokens: field("--input-tokens <n>", tokenCount(1).prefault("128"), "tokens of a prompt"),
  outputTokens: field("--output-tokens <n>", tokenCount(2).prefault("64"), "tokens of an answer"),
  speed: field("--no-speed", z.boolean().default(true), "memory only: time no steps"),
  json: field("--json", z.boolean().default(false), "print JSON"),
} satisfies Component;

// Only flags that change a plan: who waits or gives way, the prefix cache, seeds and attention's operands do not.
const { attentionDtype: _attentionDtype, ...precisionFlags } = precisionSettings;
const sizeFlags = {
  maxModelLen: schedulerSettings.maxModelLen,
  maxNumSeqs: schedulerSettings.maxNumSeqs,
  maxNumBatchedTokens: schedulerSettings.maxNumBatchedTokens,
  kvCacheDtype: schedulerSettings.kvCacheDtype,
  kvCacheMemory: schedulerSettings.kvCacheMemory,
  memoryUtilization: schedulerSettings.memoryUtilization,
  swapSpace: schedulerSettings.swapSpace,
  blockSize: schedulerSettings.blockSize,
  specMethod: schedulerSettings.specMethod,
  specModel: schedulerSettings.specModel,
  specTokens: schedulerSettings.specTokens,
} satisfies Component;

const help: CommandHelp = {
  summary: "Say what a model will take and how fast it will be, before it is loaded",
  details: `
Reads headers; no weight is loaded. Memory is counted as \`millrace serve\` counts it with the same flags, and printed at
once. Speeds then come from steps that are run on this machine with weights without meaning, of as many of the model's
layers as 512 MiB hold: some ten seconds to a minute for all precisions. They are those of a closed loop of requests of
one length, as \`millrace bench\` makes it. A hub's model is downloaded first.`,
  examples: [
    "millrace plan ./model",
    "millrace plan model.gguf --context 8192 --concurrency 1,16 --kv-cache-dtype int8",
    "millrace plan ./model --dtype bfloat16 --json",
    "millrace plan ./model --no-speed --context 32k",
  ],
};

export function planCommand(): Command {
  const command = addModelArgument(createCommand("plan", help));
  addSettings(command, own);
  addSettings(command, precisionFlags, "Precision and kernels:");
  addSettings(command, sizeFlags, "Context, batching and memory:");
  return command.action(runPlan);
}

function runPlan(modelPath: string, _options: unknown, command: Command): void {
  const settings = readSettings(command, own);
  const options = engineOptionsOf(modelPath, readSettings(command, engineSettings));
  const status = nativeStatus();
  warnOfThreads(options, status);
  const checkpoint = openModel(modelPath);
  checkLengths(settings, options, checkpoint);
  const draft = openDraft(options, checkpoint);
  try {
    const input: ModelPlanInput = {
      options,
      checkpoint,
      draft,
      freeBytes: freeMemoryBytes(),
      inputTokens: settings.inputTokens,
      outputTokens: settings.outputTokens,
      concurrencies: [...new Set(settings.concurrency)].toSorted((a, b) => a - b),
      contextTokens: settings.context ?? null,
    };
    const memory = planModelMemory(input);
    if (settings.json) printRecord(input, memory, settings.speed, status);
    else printPlan(input, memory, settings.speed, status);
    if (memory.fault !== null) throw memory.fault;
  } finally {
    draft?.close();
    checkpoint.close();
  }
}

/** Prints what is known before steps are timed, which takes a while. */
function printPlan(
  input: ModelPlanInput,
  memory: ModelMemory,
  isSpeedAsked: boolean,
  status: NativeStatus,
): void {
  printMemory(memory, input.checkpoint);
  const noSpeed = noSpeedReason(input.options, isSpeedAsked, status);
  const machine = machineOf(input.options, status);
  const speed = noSpeed === null ? foreseeSpeed(input, memory, machine, new TerminalProgress()) : null;
  if (memory.fault !== null && speed !== null) printLine("Speeds are foreseen as though it fitted.");
  if (speed !== null) printSpeed(speed, machine);
  else {
    printLine(`No speeds: ${noSpeed}.\n`);
    printPrecisions(withoutSpeeds(memory.precisions));
  }
  for (const line of adviceOf(input, memory, speed)) printLine(`- ${line}`);
}

function printRecord(
  input: ModelPlanInput,
  memory: ModelMemory,
  isSpeedAsked: boolean,
  status: NativeStatus,
): void {
  const { checkpoint, options } = input;
  const noSpeed = noSpeedReason(options, isSpeedAsked, status);
  const machine = noSpeed === null ? machineOf(options, status) : null;
  const speed = machine === null ? null : foreseeSpeed(input, memory, machine, silentProgress);
  const advice = adviceOf(input, memory, speed);
  const record = planRecord({ checkpoint, machine, memory, speed, noSpeed, advice });
  printLine(JSON.stringify(record, null, 2));
}

function warnOfThreads({ numThreads }: EngineOptions, status: NativeStatus): void {
  if (numThreads <= status.numThreads) return;
  printNote(
    `WARNING: --threads is ${numThreads}, more than the ${countOf(status.numThreads, "core")} that may be used; leave it out.`,
  );
}

/** Throws `invalid_option` for sequences that the model or its engine would not take. */
function checkLengths(
  { inputTokens, outputTokens, context = 0 }: Values<typeof own>,
  { maxModelLen }: EngineOptions,
  { config }: Checkpoint,
): void {
  const request = inputTokens + outputTokens;
  const longest = Math.max(request, context);
  const { maxPositionEmbeddings: most } = config;
  const limit = typeof maxModelLen === "number" ? Math.min(most, maxModelLen) : most;
  if (longest <= limit) return;
  const [param, seen] =
    context > limit
      ? ["--context", `--context is ${context}`]
      : [
          "--input-tokens",
          `--input-tokens ${inputTokens} and --output-tokens ${outputTokens} make ${request}`,
        ];
  const remedy =
    longest > most
      ? `this model was made for at most ${most}. Give fewer.`
      : `--max-model-len allows ${limit}. Give fewer, or a --max-model-len of ${longest} to ${most}, which is this model's own.`;
  throw new MillraceError("invalid_option", `${seen} tokens; ${remedy}`, { param });
}

/** Null where steps can be timed and are to be. */
function noSpeedReason(
  { backend }: EngineOptions,
  isSpeedAsked: boolean,
  { available, reason }: NativeStatus,
): string | null {
  if (!isSpeedAsked) return "--no-speed leaves them out";
  if (backend === "reference")
    return "they need the native kernels, and --backend reference leaves those out";
  return available ? null : `they need the native kernels, and those are not there, because ${reason}`;
}

/** The kernels that speeds are foreseen with. */
function machineOf({ isa: asked, numThreads: threads }: EngineOptions, status: NativeStatus): PlannedMachine {
  const isa = asked === "auto" ? (status.isas[0] ?? "none") : asked;
  return { isa, numThreads: threads === 0 ? status.numThreads : threads };
}

function foreseeSpeed(
  input: ModelPlanInput,
  memory: ModelMemory,
  machine: PlannedMachine,
  progress: Progress,
): ModelSpeed {
  const { checkpoint, freeBytes } = input;
  const newOps = (): Ops => createOps({ backend: "native", ...machine }).ops;
  const parts = { checkpoint, createOps: newOps, freeBytes };
  return planSpeed(input, memory, (...timed) => timeSteps(parts, ...timed), progress);
}

function adviceOf(
  { options, contextTokens }: ModelPlanInput,
  memory: ModelMemory,
  speed: ModelSpeed | null,
): string[] {
  const { engine, kvNeeds, kvDtype, blockSize, budgetBytes, precisions } = memory;
  const { weightBytes } = memory.planned.ops;
  const { modelPath } = options;
  const kv = { need: kvNeeds.at(-1)!, kvDtype, blockSize, options, isContextAsked: contextTokens !== null };
  return [
    ...adviseWeights({ budgetBytes, weightBytes, precisions }),
    ...(engine === null ? [] : adviseKv({ ...kv, engine })),
    ...(speed === null ? [] : adviseSpeed({ ...speed, modelPath })),
  ];
}
