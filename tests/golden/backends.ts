import { createOps, nativeStatus } from "../../src/kernels/create-ops.ts";
import type { Ops } from "../../src/kernels/ops.ts";
import { createReferenceOps } from "../../src/kernels/reference/reference-ops.ts";

export interface Backend {
  readonly name: string;
  readonly isNative: boolean;
  readonly isAvailable: boolean;
  create(): Ops;
}

const { isas } = nativeStatus();

function nativeBackend(isa: string): Backend {
  return {
    name: `native ${isa}`,
    isNative: true,
    isAvailable: isas.includes(isa),
    create: () => createOps({ numThreads: 2, backend: "native", isa }).ops,
  };
}

/** Every backend that this machine could run; suites skip the unavailable ones visibly. */
export const backends: readonly Backend[] = [
  {
    name: "reference",
    isNative: false,
    isAvailable: true,
    create: () => createReferenceOps({ numThreads: 1 }),
  },
  nativeBackend("avx2"),
  nativeBackend("avx512"),
  nativeBackend("amx"),
];
