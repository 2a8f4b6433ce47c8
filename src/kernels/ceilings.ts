import { MillraceError } from "../base/errors.ts";
import { loadAddon, type NativeCeilings } from "./addon.ts";

/** Which ceiling bounds the products of an operation. */
export type OperationUnit = "int8" | "int4" | "bf16" | "f32";

/** What this machine can do at most with a number of threads, each per second, measured. */
export interface Ceilings {
  /** Bytes read, from memory that is in no cache unless said otherwise. */
  readonly readBytes: number;
  /** Multiplications and additions of int8 codes, summed in 32 bits, from registers. */
  readonly int8Operations: number;
  /** The same where one side has 4 bits, so that sums may stay narrow for a while. */
  readonly int4Operations: number;
  /** Multiplications and additions of bf16, summed in f32, from registers; those of f32 where bf16 is widened first. */
  readonly bf16Operations: number;
  /** Multiplications and additions in f32, from registers. */
  readonly f32Operations: number;
}

/**
 * Measures the ceilings with the loops of one instruction set: half a second, a gibibyte of memory.
 *
 * @throws native_unavailable without the native kernels
 */
export function measureCeilings(isa: string, numThreads: number): Ceilings {
  const { addon, reason } = loadAddon();
  if (addon === undefined) {
    throw new MillraceError(
      "native_unavailable",
      `The machine's ceilings are measured by the native kernels, but ${reason}. Run \`npx millrace doctor --build\`.`,
    );
  }
  const context = addon.createContext(isa, numThreads, false);
  try {
    return ceilingsOf(addon.measureCeilings(context));
  } finally {
    addon.close(context);
  }
}

function ceilingsOf([
  readBytes,
  int8Operations,
  int4Operations,
  bf16Operations,
  f32Operations,
]: NativeCeilings): Ceilings {
  return { readBytes, int8Operations, int4Operations, bf16Operations, f32Operations };
}

/** The least seconds for what an operation has to read and to multiply: the longer of the two (Williams et al. 2009). */
export function secondsAtCeilings(
  work: { readonly bytes: number; readonly operations: number; readonly unit: OperationUnit },
  ceilings: Ceilings,
): number {
  return Math.max(
    work.bytes / ceilings.readBytes,
    work.operations / operationsPerSecond(ceilings, work.unit),
  );
}

/** The ceiling of a unit. */
export function operationsPerSecond(ceilings: Ceilings, unit: OperationUnit): number {
  return {
    int8: ceilings.int8Operations,
    int4: ceilings.int4Operations,
    bf16: ceilings.bf16Operations,
    f32: ceilings.f32Operations,
  }[unit];
}
