import { formatBytes, formatCount } from "../../base/units.ts";
import type { ModelPlan, ModelPlanInput } from "./model-plan.ts";

/** A change of speed below this is not worth a sentence: the prediction is no finer. */
const leastGain = 1.25;

/** The flags that would change something, most urgent first: one sentence each. */
export function adviseFlags(plan: Omit<ModelPlan, "advice">, input: ModelPlanInput): string[] {
  return [...memoryAdvice(plan), ...kvAdvice(plan, input), ...precisionAdvice(plan)];
}

/** Share of the free memory that weights may take so that something is left for the rest. */
const weightShare = 0.8;

function memoryAdvice({ weightBytes, precisions, freeBytes }: Omit<ModelPlan, "advice">): string[] {
  if (weightBytes < weightShare * freeBytes) return [];
  const smaller = precisions.find((precision) => precision.weightBytes < weightShare * freeBytes);
  if (smaller === undefined) return [];
  return [`Weights of ${formatBytes(smaller.weightBytes)} would fit: ${smaller.from}.`];
}

function kvAdvice(
  { memory, kvNeeds, kvDtype }: Omit<ModelPlan, "advice">,
  { contextTokens: asked, options }: ModelPlanInput,
): string[] {
  if (memory === null) return [];
  const advice: string[] = [];
  const most = kvNeeds.at(-1)!;
  const { contextTokens } = most;
  const spare = memory.freeBytes - memory.totalBytes + memory.kv.sizeBytes;
  if (!most.fits) {
    const wanted = `${most.concurrency} sequences of ${formatCount(contextTokens)} tokens need ${formatBytes(most.sizeBytes)} of KV cache`;
    const size = `--kv-cache-memory-bytes ${toMebibytes(most.sizeBytes)}MiB --max-model-len ${contextTokens}`;
    if (most.sizeBytes <= spare) advice.push(`${wanted}: ${size}.`);
    else if (kvDtype !== "int8")
      advice.push(`${wanted}, which is not there; --kv-cache-dtype int8 halves it from f16.`);
    else advice.push(`${wanted}, which is not there; take fewer sequences or a shorter context.`);
  } else if (
    asked !== null &&
    memory.kv.sizeBytes > 4 * most.sizeBytes &&
    options.kvCacheMemoryBytes === null
  ) {
    const size = `--kv-cache-memory-bytes ${toMebibytes(most.sizeBytes)}MiB --max-model-len ${contextTokens}`;
    advice.push(
      `The KV cache holds more than four times what ${most.concurrency} such sequences need; ${size} leaves the rest of the memory free.`,
    );
  }
  return advice;
}

function toMebibytes(bytes: number): number {
  return Math.ceil(bytes / 1024 ** 2);
}

/** The precision that is fastest at few in flight and the one that is fastest at many, where they beat the model as it is. */
function precisionAdvice({ loads, precisions }: Omit<ModelPlan, "advice">): string[] {
  if (loads.length === 0) return [];
  const ends = [loads[0]!, loads.at(-1)!];
  const gains = new Map<string, string[]>();
  for (const [index, load] of ends.entries()) {
    const speedOf = (speeds: readonly number[]): number => speeds[Math.min(index, speeds.length - 1)]!;
    // One that is too large to be tried has no speed.
    const timed = precisions.filter((precision) => precision.outputTokensPerSecond.length > 0);
    if (timed.length === 0) continue;
    const best = timed.reduce((a, b) =>
      speedOf(b.outputTokensPerSecond) > speedOf(a.outputTokensPerSecond) ? b : a,
    );
    const gain = speedOf(best.outputTokensPerSecond) / load.outputTokensPerSecond;
    if (gain < leastGain) continue;
    const way = `${best.name}, by ${best.from}`;
    const text = `${gain.toFixed(1)} times as fast at ${load.concurrency} in flight`;
    gains.set(way, [...new Set([...(gains.get(way) ?? []), text])]);
  }
  return [...gains].map(([way, texts]) => `As ${way}: ${texts.join(", ")}.`);
}
