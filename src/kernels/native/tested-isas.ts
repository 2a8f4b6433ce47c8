import { loadAddon } from "../addon.ts";
import type { AttentionDtype } from "../ops.ts";

/** Every instruction set that has kernels; tests of one that the machine lacks are skipped visibly. */
export const allIsas: readonly string[] = ["avx2", "avx512", "avx512-bf16", "amx"];

/** AMX with its tiles in plain C++, over the kernels of AVX2. Only tests ask for it, by `createNativeOps`. */
const amxTwin = "amx-twin";

const offered: readonly string[] = loadAddon().addon?.listIsas() ?? [];

/** What the machine offers, and the twin; empty without the native kernels. */
export const testedIsas: readonly string[] = offered.length === 0 ? [] : [...offered, amxTwin];

/** Attention's own kernels: f32 products are the same with the twin as without it. */
export const attentionVariants: readonly { readonly isa: string; readonly attentionDtype: AttentionDtype }[] =
  [
    ...offered.map((isa) => ({ isa, attentionDtype: "f32" as const })),
    ...testedIsas.map((isa) => ({ isa, attentionDtype: "bf16" as const })),
  ];
