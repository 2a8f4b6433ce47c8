import { countOf, formatBytes, formatCount } from "../base/units.ts";
import { type KvNeed, type ModelMemory, nodeBytes } from "../engine/plan/model-memory.ts";
import type { ModelSpeed, PrecisionSpeed } from "../engine/plan/model-speed.ts";
import type { PredictedLoad } from "../engine/plan/predict-load.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { formatTable, printLine } from "./terminal.ts";

/** The kernels that speeds are foreseen with. */
export interface PlannedMachine {
  readonly isa: string;
  readonly numThreads: number;
}

/** What headers tell: memory, what sequences need of it, and how the linears are held. */
export function printMemory(memory: ModelMemory, checkpoint: Checkpoint): void {
  const { engine, fault, processBytes, kvDtype, kvBytesPerToken } = memory;
  const { config, weightFormat, sizeBytes, path } = checkpoint;
  printLine(`${path}: ${config.architecture}, ${weightFormat}, ${formatBytes(sizeBytes)} on disk`);
  for (const note of memory.planned.notes) printLine(note);
  printLine("");
  if (fault !== null) printLine(`Memory plan: it does not fit. ${fault.message}`);
  for (const line of engine?.lines ?? []) printLine(line);
  if (processBytes !== null) {
    const size = formatBytes(processBytes).padStart(9);
    printLine(
      `  process     ${size}  with about ${formatBytes(nodeBytes)} for Node.js, once the KV cache is full`,
    );
  }
  printLine(`  KV cache of a token in ${kvDtype}: ${formatBytes(kvBytesPerToken)}`);
  printLine("");
  printKvNeeds(memory);
  printLinears(memory);
}

function printKvNeeds({ kvNeeds }: ModelMemory): void {
  const rows = kvNeeds.map((need) => [
    String(need.concurrency),
    formatCount(need.contextTokens),
    formatBytes(need.sizeBytes),
    fitText(need),
  ]);
  printTable(["in flight", "tokens each", "KV cache", "fits"], rows);
}

function fitText({ numRunning, limit }: KvNeed): string {
  if (limit === null) return "yes";
  return numRunning === 0 ? `no: ${limit}` : `no, ${formatCount(numRunning)} at once: ${limit}`;
}

function printLinears({ linears }: ModelMemory): void {
  const rows = linears.map(({ name, count, weightForm, inputForm, sizeBytes }) => [
    name,
    String(count),
    weightForm,
    inputForm,
    formatBytes(sizeBytes),
  ]);
  printTable(["linear", "count", "weights held as", "input held as", "size"], rows);
}

/** What steps told. */
export function printSpeed(speed: ModelSpeed, { isa, numThreads }: PlannedMachine): void {
  const { loads, doubts, refusal, precisions } = speed;
  if (refusal !== null) {
    printLine(`No speeds: ${refusal}.`);
    printLine("");
  }
  const [first] = loads;
  if (first !== undefined) {
    printSpeedHeader(first, `${isa}, ${countOf(numThreads, "thread")}`);
    printLoads(loads);
    if (doubts.length > 0) {
      const isSlow = loads.some(({ spread }) => spread === null);
      const cause = isSlow ? "Steps are slow or the machine was busy" : "The machine was busy";
      printLine(`${cause} while these were timed: they are uncertain (${doubts.join("; ")}).`);
      printLine("");
    }
  }
  printPrecisions(precisions);
}

function printSpeedHeader({ inputTokens, outputTokens }: PredictedLoad, kernels: string): void {
  printLine(`Speeds with kernels of ${kernels}; steps timed with weights without meaning.`);
  printLine(
    `Prompts of ${formatCount(inputTokens)} and answers of ${formatCount(outputTokens)} tokens, so contexts of ` +
      `${formatCount(inputTokens)} to ${formatCount(inputTokens + outputTokens)}: --input-tokens and --output-tokens change ` +
      "them, --context does not.",
  );
}

function printLoads(loads: readonly PredictedLoad[]): void {
  const rows = loads.map((load) => [
    String(load.concurrency),
    load.numRunning === load.concurrency ? "all" : `${load.numRunning} of ${load.concurrency}`,
    rate(load.outputTokensPerSecond),
    rate(load.outputTokensPerSecondEach),
    load.itlMs.toFixed(1),
    formatCount(load.ttftAloneMs),
    formatCount(load.ttftLastMs),
    load.spread === null ? "–" : `${(100 * load.spread).toFixed(0)} %`,
  ]);
  const header = ["in flight", "at once", "tokens/s, all", "tokens/s, each", "ITL ms", "TTFT ms, alone"];
  printTable([...header, "TTFT ms, last of n", "spread"], rows);
  const serving = loads.filter(({ servingShare }) => servingShare > 0.5);
  if (serving.length === 0) return;
  const who = serving.map(({ concurrency }) => concurrency).join(", ");
  printLine(
    `At ${who} in flight more than half of the time is not the model's: HTTP, messages between threads and the clients, ` +
      "by constants that were measured on one machine.",
  );
  printLine("");
}

/** The sizes of each precision, its speeds where there are some, and the commands that make it. */
export function printPrecisions(precisions: readonly PrecisionSpeed[]): void {
  const timed = precisions.flatMap(({ loads }) => loads.map(({ concurrency }) => concurrency));
  const ends = [...new Set(timed)];
  const rows = precisions.map((precision) => [
    precision.isNow ? `${precision.name}, now` : precision.name,
    formatBytes(precision.weightBytes),
    ...ends.map((end) => speedText(precision, end)),
  ]);
  printTable(["as", "weights", ...ends.map((end) => `tokens/s at ${end}`)], rows);
  const ways = precisions.filter(({ command }) => command !== null);
  for (const { name, command } of ways) printLine(`${name.padEnd(4)} by  ${command}`);
  if (ways.length > 0) printLine("");
}

function speedText({ loads }: PrecisionSpeed, concurrency: number): string {
  const load = loads.find((each) => each.concurrency === concurrency);
  return load === undefined ? "–" : rate(load.outputTokensPerSecond);
}

/** Tokens per second; slow ones with two digits that count. */
function rate(perSecond: number): string {
  return perSecond < 1 ? perSecond.toPrecision(2) : perSecond.toFixed(1);
}

function printTable(header: readonly string[], rows: readonly (readonly string[])[]): void {
  printLine(formatTable(header, rows));
  printLine("");
}
