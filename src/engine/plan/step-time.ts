import { type Ceilings, operationsPerSecond } from "../../kernels/ceilings.ts";
import type { OperationWork, ProductKind } from "../../kernels/profiled-ops.ts";

/**
 * What a weight costs in products at the ceiling's rate: to bring it into the form that is multiplied, once however many
 * rows there are, and for each row, with loads, scales and sums beside the product itself.
 */
export interface WeightCost {
  /** Next to nothing where the fit found none. */
  readonly unpack: number;
  readonly perRow: number;
}

/** What operations take of what a machine can do; such costs change less from machine to machine than speeds do. */
export interface StepCosts {
  readonly weights: Readonly<Record<ProductKind, WeightCost>>;
  /** f32 operations at the ceiling's rate for one of attention's, and for a byte of K and V, which is widened. */
  readonly attention: { readonly perOperation: number; readonly perByte: number };
  /** Of the reading ceiling, what weights are read at. */
  readonly readShare: number;
  /** f32 operations at the ceiling's rate for an element of what neither reads weights nor multiplies matrices. */
  readonly perElement: number;
  /** To hand an operation to the kernels' threads and to wait for the last; a linear's first bytes come late. */
  readonly operationSeconds: number;
  readonly linearSeconds: number;
}

/**
 * By instruction set, fitted by `node tests/perf/fit-step-time.mjs` to steps of 1 to 512 rows of SmolLM2-135M in Q4_1, W8A8
 * and bfloat16, and of a Llama of 1.07 B in Q4_0 and Q8_0, on two cores of shared machines: AMD EPYC (Zen 3) for AVX2 on
 * 2026-11-28, Intel Xeon (Emerald Rapids, VNNI) for AVX-512 on 2026-11-29. These steps as a whole they foresee from 10 %
 * below to 10 % above on the first; on the second those of SmolLM2 from 3 % below to 7 % above, of the other from 18 % below
 * to 18 % above.
 */
export const stepCosts: Readonly<Record<"avx2" | "avx512", StepCosts>> = {
  avx2: {
    weights: {
      "int8 rows": { unpack: 2.14, perRow: 2.05 },
      "int8 blocks": { unpack: 0.155, perRow: 1.69 },
      int4: { unpack: 0.00661, perRow: 1.47 },
      "int4 + min": { unpack: 5.15, perRow: 1.94 },
      float: { unpack: 4.21, perRow: 1.25 },
    },
    attention: { perOperation: 2.21, perByte: 8.17 },
    readShare: 0.993,
    perElement: 129,
    operationSeconds: 4.54e-6,
    linearSeconds: 6.95e-6,
  },
  avx512: {
    weights: {
      "int8 rows": { unpack: 21.3, perRow: 1.95 },
      "int8 blocks": { unpack: 5.81, perRow: 2.23 },
      int4: { unpack: 0.00661, perRow: 2.78 },
      "int4 + min": { unpack: 2.67, perRow: 3.31 },
      float: { unpack: 1.14, perRow: 1.21 },
    },
    attention: { perOperation: 3.22, perByte: 17 },
    readShare: 0.843,
    perElement: 211,
    operationSeconds: 5.35e-6,
    linearSeconds: 5.53e-6,
  },
};

/** What a machine can do, and what operations take of that with one of its instruction sets. */
export interface MachineSpeed {
  readonly ceilings: Ceilings;
  readonly costs: StepCosts;
}

/** Costs of an instruction set's kernels; AMX has those of AVX-512, as nothing was measured with it. */
export function stepCostsOf(isa: string): StepCosts {
  return isa === "avx2" || isa === "amx_twin" ? stepCosts.avx2 : stepCosts.avx512;
}

/** Seconds that operations take, one after the other. */
export function stepSeconds(work: readonly OperationWork[], speed: MachineSpeed): number {
  return work.reduce((sum, operation) => sum + operationTime(operation, speed), 0);
}

function operationTime(work: OperationWork, { ceilings, costs }: MachineSpeed): number {
  const { bytes, operations, unit, numRows, numElements } = work;
  const { operationSeconds, linearSeconds } = costs;
  if (operations === 0) return operationSeconds + (numElements * costs.perElement) / ceilings.f32Operations;
  const reading = bytes / (ceilings.readBytes * costs.readShare);
  if (work.kind === "pagedAttention") {
    const { perOperation, perByte } = costs.attention;
    const multiplying = (operations * perOperation + bytes * perByte) / ceilings.f32Operations;
    return operationSeconds + together(reading, multiplying);
  }
  const { unpack, perRow } = costs.weights[work.products];
  const ofARow = operations / numRows / operationsPerSecond(ceilings, unit);
  return linearSeconds + together(reading, ofARow * (unpack + perRow * numRows));
}

/** Reading and multiplying hide each other, but the less the more equal they are: a core waits now for one, now for the other. */
function together(reading: number, multiplying: number): number {
  return Math.cbrt(reading ** 3 + multiplying ** 3);
}
