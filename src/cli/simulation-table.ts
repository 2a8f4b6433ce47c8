import { formatBytes, formatCount } from "../base/units.ts";
import type { SimulationResult } from "../engine/simulator/simulation-record.ts";
import type { CostPiece } from "../engine/simulator/step-cost-model.ts";
import type { SampleSummary } from "../engine/simulator/weighted-samples.ts";
import type { StepCostsFile } from "./step-costs-file.ts";
import { formatTable } from "./terminal.ts";

/** One configuration's result under its name. */
export interface NamedResult {
  readonly name: string;
  readonly result: SimulationResult;
}

const none = "–";

type Cell = (result: SimulationResult) => string;

/** Results side by side: a row for each figure, a column for each configuration. */
export function simulationTable(results: readonly NamedResult[]): string {
  const rows: [string, Cell][] = [
    ["finished", ({ numFinished }) => formatCount(numFinished)],
    ...failureRows(results),
    ...percentileRows("TTFT", (result) => result.ttftMs),
    ...percentileRows("ITL", (result) => result.itlMs),
    ...percentileRows("end to end", (result) => result.e2eMs),
    ["goodput req/s", (result) => perSecond(result, result.numGood)],
    ["good share %", ({ numGood, numRequests }) => percent(numGood, numRequests)],
    ["output tokens/s", (result) => perSecond(result, result.numOutputTokens)],
    ["duration s", ({ durationMs }) => (durationMs / 1000).toFixed(1)],
    ["busy %", ({ busyMs, durationMs }) => percent(busyMs, durationMs)],
    ["sequences in a step", ({ meanSequences }) => meanSequences.toFixed(1)],
    ["KV cache held %", ({ meanHeldShare }) => percent(meanHeldShare, 1)],
    ["KV cache filled %", ({ meanFilledShare }) => percent(meanFilledShare, 1)],
    ["prefix hits %", ({ totals }) => percent(totals.numHitTokens, totals.numQueriedTokens)],
    ["preemptions", ({ totals }) => formatCount(totals.numPreemptions)],
    ["tokens recomputed", ({ totals }) => formatCount(totals.numLostTokens)],
    ["blocks swapped", ({ totals }) => formatCount(totals.numSwappedBlocks)],
  ];
  return formatTable(
    ["", ...results.map(({ name }) => name)],
    rows.map(([label, cell]) => [label, ...results.map(({ result }) => cell(result))]),
  );
}

/** A row for each way in which requests failed in some configuration. */
function failureRows(results: readonly NamedResult[]): [string, Cell][] {
  const codes = new Set(results.flatMap(({ result }) => Object.keys(result.failures)));
  return [...codes]
    .sort()
    .map((code) => [
      code,
      ({ failures }) => formatCount(Object.entries(failures).find(([key]) => key === code)?.[1] ?? 0),
    ]);
}

function percentileRows(
  label: string,
  summaryOf: (result: SimulationResult) => SampleSummary | null,
): [string, Cell][] {
  return (["p50", "p90", "p99"] as const).map((name) => [
    `${label} ${name} ms`,
    (result) => milliseconds(summaryOf(result)?.[name]),
  ]);
}

function milliseconds(value: number | undefined): string {
  if (value === undefined) return none;
  return value < 100 ? value.toFixed(value < 10 ? 2 : 1) : formatCount(value);
}

function perSecond({ durationMs }: SimulationResult, count: number): string {
  if (durationMs === 0) return none;
  const rate = (count * 1000) / durationMs;
  return rate < 100 ? rate.toFixed(2) : formatCount(rate);
}

function percent(part: number, whole: number): string {
  return whole === 0 ? none : ((100 * part) / whole).toFixed(1);
}

/** What a calibration found, for people. */
export function costLines(file: StepCostsFile): string[] {
  const { costs, steps, meanError, maxError, blockBytes } = file;
  const microseconds = (ms: number): string => `${(ms * 1000).toPrecision(3)} µs`;
  const line = (label: string, ms: number): string => `  ${label.padEnd(34)}${microseconds(ms)}`;
  const pieceLines = (label: string, pieces: readonly CostPiece[]): string[] =>
    pieces.map(({ above, perUnitMs }) =>
      line(above === 0 ? label : `${label} above ${formatCount(above)}`, perUnitMs),
    );
  const block = blockBytes === null ? "" : `, ${formatBytes(blockBytes)} each`;
  return [
    `Step costs of ${file.model}: ${file.measured}.`,
    line("each step", costs.fixedMs),
    ...pieceLines("token of a step", costs.tokens),
    line("sequence that draws", costs.perSequenceMs),
    ...pieceLines("its context token", costs.context),
    line("prefill pair", costs.perPrefillPairMs),
    line("request, outside of steps", costs.requestMs),
    `Residual over ${steps.length} kinds of steps: mean ${percent(meanError, 1)} %, largest ${percent(maxError, 1)} %.`,
    `KV cache by default: ${formatCount(file.numKvBlocks)} blocks of ${file.blockSize} tokens${block}; ` +
      `context ${formatCount(file.maxModelLen)} tokens.`,
  ];
}
