import { type Ceilings, type OperationUnit, operationsPerSecond } from "../../kernels/ceilings.ts";
import type { OperationWork } from "../../kernels/profiled-ops.ts";

/** What kernels reach of a ceiling, at a number of rows; between them it is found along the logarithm of the rows. */
interface Share {
  readonly numRows: number;
  readonly share: number;
}

const floatShares: readonly Share[] = [
  { numRows: 1, share: 0.12 },
  { numRows: 8, share: 0.46 },
  { numRows: 16, share: 0.54 },
  { numRows: 32, share: 0.55 },
  { numRows: 128, share: 0.61 },
];

/**
 * Shares of the machine's ceilings that operations reach inside of real steps, by what bounds them. Fitted to steps of
 * SmolLM2-135M and of a Llama of 1.07 B parameters on AVX2 (`node tests/perf/plan-vs-real.mjs`); shares change less from
 * machine to machine than speeds do.
 */
const linearShares: Readonly<Record<OperationUnit, readonly Share[]>> = {
  int8: [
    { numRows: 1, share: 0.15 },
    { numRows: 8, share: 0.36 },
    { numRows: 16, share: 0.46 },
    { numRows: 32, share: 0.5 },
    { numRows: 128, share: 0.62 },
  ],
  int4: [
    { numRows: 1, share: 0.13 },
    { numRows: 8, share: 0.28 },
    { numRows: 16, share: 0.39 },
    { numRows: 32, share: 0.41 },
    { numRows: 128, share: 0.5 },
  ],
  // Where bf16 has products of its own, their shares are not measured yet.
  bf16: floatShares,
  f32: floatShares,
};

/** Of the reading ceiling, and of the f32 ceiling for attention. */
const readShare = 0.85;
const attentionShare = 0.38;
/** Elements a second of what neither reads weights nor multiplies matrices, by f32 operations a second of the ceiling. */
const elementsPerOperation = 1 / 200;
/** To hand an operation to the kernels' threads and to wait for the last; a linear's first bytes come late. */
const operationSeconds = 3e-6;
const linearSeconds = 8e-6;

/** Seconds that operations take, one after the other. */
export function stepSeconds(work: readonly OperationWork[], ceilings: Ceilings): number {
  return work.reduce((sum, operation) => sum + secondsOf(operation, ceilings), 0);
}

function secondsOf(work: OperationWork, ceilings: Ceilings): number {
  const { bytes, operations, unit, numRows, numElements } = work;
  if (operations === 0) {
    return operationSeconds + numElements / (ceilings.f32Operations * elementsPerOperation);
  }
  const perSecond = operationsPerSecond(ceilings, unit);
  const share = work.kind === "pagedAttention" ? attentionShare : shareAt(linearShares[unit], numRows);
  const reading = bytes / (ceilings.readBytes * readShare);
  return linearSeconds + Math.max(reading, operations / (perSecond * share));
}

function shareAt(shares: readonly Share[], numRows: number): number {
  const next = shares.findIndex((point) => point.numRows >= numRows);
  if (next === 0) return shares[0]!.share;
  if (next < 0) return shares.at(-1)!.share;
  const [low, high] = [shares[next - 1]!, shares[next]!];
  const part = Math.log(numRows / low.numRows) / Math.log(high.numRows / low.numRows);
  return low.share + part * (high.share - low.share);
}
