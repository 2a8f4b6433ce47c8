import { createOps, nativeStatus } from "../../src/kernels/create-ops.ts";
import type { AttentionDtype, Ops } from "../../src/kernels/ops.ts";
import { createReferenceOps } from "../../src/kernels/reference/reference-ops.ts";

export interface Backend {
  readonly name: string;
  readonly isNative: boolean;
  readonly isAvailable: boolean;
  /** `attentionDtype` is f32 by default. */
  create(attentionDtype?: AttentionDtype): Ops;
}

const { isas } = nativeStatus();

function nativeBackend(isa: string): Backend {
  return {
    name: `native ${isa}`,
    isNative: true,
    isAvailable: isas.includes(isa),
    create: (attentionDtype = "f32") =>
      createOps({ numThreads: 2, backend: "native", isa, attentionDtype }).ops,
  };
}

/** Every backend that this machine could run; suites skip the unavailable ones visibly. */
export const backends: readonly Backend[] = [
  {
    name: "reference",
    isNative: false,
    isAvailable: true,
    create: (attentionDtype = "f32") => createReferenceOps({ numThreads: 1, attentionDtype }),
  },
  nativeBackend("avx2"),
  nativeBackend("avx512"),
  nativeBackend("amx"),
];
