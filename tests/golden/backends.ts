import type { Ops } from "../../src/kernels/ops.ts";
import { createReferenceOps } from "../../src/kernels/reference/reference-ops.ts";

export interface Backend {
  readonly name: string;
  readonly isAvailable: boolean;
  create(): Ops;
}

/** Every backend that this machine could run; suites skip the unavailable ones visibly. */
export const backends: readonly Backend[] = [
  { name: "reference", isAvailable: true, create: () => createReferenceOps({ numThreads: 1 }) },
];
