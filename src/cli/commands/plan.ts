import type { Command } from "commander";
import { z } from "zod";
import { MillraceError } from "../../base/errors.ts";
import { type Component, field } from "../../config/component.ts";
import { engineSettings, precisionSettings, schedulerSettings } from "../../config/engine-settings.ts";
import { integer, integerList } from "../../config/value-schemas.ts";
import { makeModelPlan } from "../../engine/plan/model-plan.ts";
import { stepCostsOf } from "../../engine/plan/step-time.ts";
import { createStepPlanner } from "../../engine/plan/step-work.ts";
import { openDraft } from "../../engine/speculation/load-speculation.ts";
import { type Ceilings, measureUsualCeilings } from "../../kernels/ceilings.ts";
import { nativeStatus } from "../../kernels/create-ops.ts";
import { freeMemoryBytes } from "../../kernels/free-memory.ts";
import { type CommandHelp, createCommand } from "../create-command.ts";
import { engineOptionsOf } from "../engine-options.ts";
import { addModelArgument } from "../model-argument.ts";
import { openModel } from "../model-source.ts";
import { planRecord, printPlan } from "../plan-table.ts";
import { addSettings, readSettings } from "../settings.ts";
import { printLine } from "../terminal.ts";

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
Reads headers and measures the machine for a few seconds (memory read, products of int8, int4, bf16 and f32); no weight
is loaded. Memory is counted as \`millrace serve\` counts it with the same flags. Speeds are those of a closed loop of
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
    const { dtype, activations } = options;
    const { ops } = createStepPlanner(checkpoint, { dtype, activations }, "f16");
    const machine = measureMachine(options, ops.weightBytes);
    const plan = makeModelPlan({
      options,
      checkpoint,
      draft,
      freeBytes: freeMemoryBytes(),
      speed: machine === null ? null : { ceilings: machine.ceilings, costs: stepCostsOf(machine.isa) },
      inputTokens,
      outputTokens,
      concurrencies: concurrency,
      contextTokens: context ?? null,
    });
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

/** What speeds are foreseen from. */
export interface MeasuredMachine {
  readonly isa: string;
  readonly numThreads: number;
  readonly ceilings: Ceilings;
}

/** Null where the native kernels are not to be had or not wanted. */
function measureMachine(
  {
    backend,
    isa: asked,
    numThreads: threads,
  }: {
    readonly backend: string;
    readonly isa: string;
    readonly numThreads: number;
  },
  weightBytes: number,
): MeasuredMachine | null {
  const status = nativeStatus();
  if (backend === "reference" || !status.available) return null;
  const isa = asked === "auto" ? status.isas[0]! : asked;
  const numThreads = threads === 0 ? status.numThreads : threads;
  return { isa, numThreads, ceilings: measureUsualCeilings(isa, numThreads, weightBytes) };
}
