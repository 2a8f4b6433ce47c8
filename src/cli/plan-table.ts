import { countOf, formatBytes, formatCount } from "../base/units.ts";
import type { ModelPlan } from "../engine/plan/model-plan.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { formatTable, printLine } from "./terminal.ts";

/** The kernels that speeds are foreseen with. */
export interface PlannedMachine {
  readonly isa: string;
  readonly numThreads: number;
}

/** The plan for other programs: sizes in bytes, speeds in tokens per second, times in milliseconds. */
export function planRecord(plan: ModelPlan, checkpoint: Checkpoint, machine: PlannedMachine | null): object {
  const { memory, fault, ...rest } = plan;
  const { path, format, weightFormat, config, sizeBytes } = checkpoint;
  return {
    kind: "plan",
    version: 1,
    model: { path, format, weightFormat, architecture: config.architecture, sizeBytes },
    machine,
    memory:
      memory === null
        ? null
        : {
            weights: memory.weightBytes,
            kvCache: memory.kv.sizeBytes,
            draft: (memory.draft?.weightBytes ?? 0) + memory.kv.draftBytes,
            activations: memory.activationBytes,
            total: memory.totalBytes,
            maxModelLen: memory.kv.maxModelLen,
            numKvBlocks: memory.kv.numBlocks,
          },
    refusal: fault?.message ?? null,
    ...rest,
  };
}

/** The plan for people. */
export function printPlan(plan: ModelPlan, checkpoint: Checkpoint, machine: PlannedMachine | null): void {
  const { config, weightFormat, sizeBytes, path } = checkpoint;
  printLine(`${path}: ${config.architecture}, ${weightFormat}, ${formatBytes(sizeBytes)} on disk`);
  for (const note of plan.notes) printLine(note);
  printLine("");
  for (const line of plan.memory?.lines ?? []) printLine(line);
  if (plan.processBytes !== null) {
    printLine(
      `  process     ${formatBytes(plan.processBytes).padStart(9)}  with Node.js, once the KV cache is full`,
    );
  }
  printLine(`  KV cache of a token in ${plan.kvDtype}: ${formatBytes(plan.kvBytesPerToken)}`);
  printLine("");
  printKvNeeds(plan);
  printLinears(plan);
  printLoads(plan, machine);
  printPrecisions(plan);
  for (const line of plan.advice) printLine(`- ${line}`);
}

function printKvNeeds({ kvNeeds }: ModelPlan): void {
  const rows = kvNeeds.map(({ concurrency, contextTokens, sizeBytes, fits }) => [
    String(concurrency),
    formatCount(contextTokens),
    formatBytes(sizeBytes),
    fits ? "yes" : "no",
  ]);
  printLine(formatTable(["in flight", "tokens each", "KV cache", "fits"], rows));
  printLine("");
}

function printLinears({ linears }: ModelPlan): void {
  const rows = linears.map(({ name, count, weightForm, inputForm, sizeBytes }) => [
    name,
    String(count),
    weightForm,
    inputForm,
    formatBytes(sizeBytes),
  ]);
  printLine(formatTable(["linear", "count", "weights", "activations", "size"], rows));
  printLine("");
}

function printLoads({ loads }: ModelPlan, machine: PlannedMachine | null): void {
  if (machine === null) {
    printLine("Speed is foreseen with the native kernels, which are not in use here.");
    printLine("");
    return;
  }
  const { isa, numThreads } = machine;
  if (loads.length === 0) {
    printLine("Speed is not foreseen: a layer and the head would take more than half of the free memory.");
    printLine("");
    return;
  }
  printLine(`${isa}, ${countOf(numThreads, "thread")}: steps timed with weights without meaning.`);
  const [first] = loads;
  printLine(
    `Foreseen for prompts of ${first!.inputTokens} and answers of ${first!.outputTokens} tokens; TTFT of one prompt alone: ${first!.ttftMs.toFixed(0)} ms`,
  );
  const rows = loads.map(({ concurrency, outputTokensPerSecond, itlMs }) => [
    String(concurrency),
    outputTokensPerSecond.toFixed(1),
    itlMs.toFixed(1),
  ]);
  printLine(formatTable(["in flight", "output tokens/s", "ITL, ms"], rows));
  printLine("");
}

function printPrecisions({ precisions, loads }: ModelPlan): void {
  const ends = [...new Set([loads[0]?.concurrency, loads.at(-1)?.concurrency])].filter(
    (n) => n !== undefined,
  );
  const rows = precisions.map(({ name, weightBytes, outputTokensPerSecond, from }) => [
    name,
    formatBytes(weightBytes),
    ...ends.map((_, index) => outputTokensPerSecond[index]?.toFixed(1) ?? "–"),
    from,
  ]);
  printLine(formatTable(["as", "weights", ...ends.map((n) => `tokens/s at ${n}`), "by"], rows));
  printLine("");
}
