import { type Ceilings, type OperationUnit, operationsPerSecond } from "../../kernels/ceilings.ts";
import type { OperationWork } from "../../kernels/profiled-ops.ts";

/**
 * What a weight costs in products at the ceiling's rate: to bring it into the form that is multiplied, once however many
 * rows there are, and for each row, with loads, scales and sums beside the product itself.
 */
interface WeightCost {
  readonly unpack: number;
  readonly perRow: number;
}

const floatCost: WeightCost = { unpack: 4.4, perRow: 1.65 };

/**
 * Fitted to the operations of steps of SmolLM2-135M and of a Llama of 1.07 B parameters on AVX2 (`millrace profile`); such
 * costs change less from machine to machine than speeds do.
 */
const weightCosts: Readonly<Record<OperationUnit, WeightCost>> = {
  int8: { unpack: 4.7, perRow: 1.85 },
  int4: { unpack: 7.2, perRow: 1.75 },
  // Where bf16 has products of its own, their costs are not measured yet.
  bf16: floatCost,
  f32: floatCost,
};

/** f32 operations at the ceiling's rate for one of attention's, and for a byte of K and V, which is widened. */
const attentionCost = { perOperation: 2.1, perByte: 6.6 } as const;

/** Of the reading ceiling. */
const readShare = 0.85;
/** Elements a second of what neither reads weights nor multiplies matrices, by f32 operations a second of the ceiling. */
const elementsPerOperation = 1 / 200;
/** To hand an operation to the kernels' threads and to wait for the last; a linear's first bytes come late. */
const operationSeconds = 5e-6;
const linearSeconds = 10e-6;

/** Seconds that operations take, one after the other. */
export function stepSeconds(work: readonly OperationWork[], ceilings: Ceilings): number {
  return work.reduce((sum, operation) => sum + operationTime(operation, ceilings), 0);
}

function operationTime(work: OperationWork, ceilings: Ceilings): number {
  const { bytes, operations, unit, numRows, numElements } = work;
  if (operations === 0) {
    return operationSeconds + numElements / (ceilings.f32Operations * elementsPerOperation);
  }
  const reading = bytes / (ceilings.readBytes * readShare);
  if (work.kind === "pagedAttention") {
    const { perOperation, perByte } = attentionCost;
    const multiplying = (operations * perOperation + bytes * perByte) / ceilings.f32Operations;
    return operationSeconds + together(reading, multiplying);
  }
  const { unpack, perRow } = weightCosts[unit];
  const ofARow = operations / numRows / operationsPerSecond(ceilings, unit);
  return linearSeconds + together(reading, ofARow * (unpack + perRow * numRows));
}

/** Reading and multiplying hide each other, but the less the more equal they are: a core waits now for one, now for the other. */
function together(reading: number, multiplying: number): number {
  return Math.cbrt(reading ** 3 + multiplying ** 3);
}
