import { loadAddon } from "./addon.ts";
import { createNativeSolver } from "./native/native-solver.ts";
import { referenceSolver } from "./reference/reference-solver.ts";
import type { Solver } from "./solver.ts";
import { planThreads } from "./thread-count.ts";

/** The solver that goes with a backend of `createOps`: native kernels of the same instruction set, or plain loops. */
export function createSolver({
  backend,
  isa,
  numThreads,
}: {
  readonly backend: "native" | "reference";
  readonly isa: string;
  readonly numThreads: number;
}): Solver {
  const { addon } = loadAddon();
  if (backend === "reference" || addon === undefined) return referenceSolver;
  return createNativeSolver(addon, isa, numThreads);
}

/** The fastest solver that this machine has; `numThreads` 0 for one per core. */
export function createFastestSolver(numThreads: number): Solver {
  const { addon } = loadAddon();
  if (addon === undefined) return referenceSolver;
  return createNativeSolver(
    addon,
    addon.listIsas()[0]!,
    numThreads > 0 ? numThreads : planThreads().numThreads,
  );
}
