import type { Command } from "commander";
import { z } from "zod";
import { MillraceError } from "../../base/errors.ts";
import type { Progress } from "../../base/progress.ts";
import { type Component, field } from "../../config/component.ts";
import { engineSettings, precisionSettings, schedulerSettings } from "../../config/engine-settings.ts";
import { integer, integerList } from "../../config/value-schemas.ts";
import type { EngineOptions } from "../../engine/engine-options.ts";
import { makeModelPlan } from "../../engine/plan/model-plan.ts";
import { precisions } from "../../engine/plan/precisions.ts";
import { DummyStepTimer, type StepTimer } from "../../engine/plan/time-steps.ts";
import { openDraft } from "../../engine/speculation/load-speculation.ts";
import type { Checkpoint } from "../../formats/checkpoint.ts";
import { createOps, nativeStatus } from "../../kernels/create-ops.ts";
import { freeMemoryBytes } from "../../kernels/free-memory.ts";
import { type CommandHelp, createCommand } from "../create-command.ts";
import { engineOptionsOf } from "../engine-options.ts";
import { addModelArgument } from "../model-argument.ts";
import { openModel } from "../model-source.ts";
import { type PlannedMachine, planRecord, printPlan } from "../plan-table.ts";
import { addSettings, readSettings } from "../settings.ts";
import { printLine, TerminalProgress } from "../terminal.ts";

const own = {
  context: field(
    "--context <tokens>",
    integer(1).optional(),
    "tokens of a sequence that the KV cache should hold (default: those of --input-tokens and --output-tokens)",
  ),
  concurrency: field(
    "--concurrency <list>",
    integerList.prefault("1,8,32"),
    "numbers of requests in flight to foresee",
  ),
  inputTokens: field("--input-tokens <n>", integer(1).default(128), "tokens of a prompt"),
  outputTokens: field("--output-tokens <n>", integer(2).default(64), "tokens of an answer"),
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
Reads headers; no weight is loaded. Speeds come from steps that are run on this machine with weights without meaning, of as
many of the model's layers as 512 MiB hold: some ten to forty seconds for all precisions. Memory is counted as \`millrace serve\` counts it with the same flags. Speeds are those of a closed loop of
requests of one length, as \`millrace bench\` makes it.`,
  examples: [
    "millrace plan ./model",
    "millrace plan model.gguf --context 8192 --concurrency 1,16 --kv-cache-dtype int8",
    "millrace plan ./model --dtype bfloat16 --json",
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
  const { json, concurrency, inputTokens, outputTokens, context } = readSettings(command, own);
  const options = engineOptionsOf(modelPath, readSettings(command, engineSettings));
  const checkpoint = openModel(modelPath);
  const { maxModelLen } = options;
  const limit = typeof maxModelLen === "number" ? maxModelLen : checkpoint.config.maxPositionEmbeddings;
  checkLengths({ inputTokens, outputTokens, context }, limit);
  const draft = openDraft(options, checkpoint);
  try {
    const machine = machineOf(options);
    const progress = new TerminalProgress();
    if (machine !== null) progress.start("Timing steps", 1 + precisions.length);
    const plan = makeModelPlan({
      options,
      checkpoint,
      draft,
      freeBytes: freeMemoryBytes(),
      timer: machine === null ? null : createTimer(checkpoint, machine, progress),
      inputTokens,
      outputTokens,
      concurrencies: concurrency,
      contextTokens: context ?? null,
    });
    if (machine !== null) progress.finish();
    if (json) printLine(JSON.stringify(planRecord(plan, checkpoint, machine), null, 2));
    else printPlan(plan, checkpoint, machine);
    if (plan.fault !== null) throw plan.fault;
  } finally {
    draft?.close();
    checkpoint.close();
  }
}

/** Throws `invalid_option` for sequences that the engine would not take. */
function checkLengths(
  asked: {
    readonly inputTokens: number;
    readonly outputTokens: number;
    readonly context: number | undefined;
  },
  limit: number,
): void {
  const { inputTokens, outputTokens, context = 0 } = asked;
  const request = inputTokens + outputTokens;
  if (Math.max(request, context) <= limit) return;
  const [param, seen] =
    context > limit
      ? ["--context", `--context is ${context}`]
      : [
          "--input-tokens",
          `--input-tokens ${inputTokens} and --output-tokens ${outputTokens} make ${request}`,
        ];
  throw new MillraceError(
    "invalid_option",
    `${seen} tokens; a sequence of this model takes at most ${limit}. Give fewer, or a longer --max-model-len if that is the limit.`,
    { param },
  );
}

/** The kernels that speeds are foreseen with; null where they are not to be had or not wanted. */
function machineOf({ backend, isa: asked, numThreads: threads }: EngineOptions): PlannedMachine | null {
  const status = nativeStatus();
  if (backend === "reference" || !status.available) return null;
  const isa = asked === "auto" ? status.isas[0]! : asked;
  const numThreads = threads === 0 ? status.numThreads : threads;
  return { isa, numThreads };
}

function createTimer(checkpoint: Checkpoint, machine: PlannedMachine, progress: Progress): StepTimer {
  let numTimed = 0;
  return new DummyStepTimer({
    checkpoint,
    createOps: () => {
      progress.update(numTimed);
      numTimed += 1;
      return createOps({ backend: "native", ...machine }).ops;
    },
    freeBytes: freeMemoryBytes(),
  });
}
