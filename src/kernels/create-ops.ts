import { MillraceError } from "../base/errors.ts";
import { countOf } from "../base/units.ts";
import { loadAddon } from "./addon.ts";
import { createNativeOps } from "./native/native-ops.ts";
import type { AttentionDtype, Ops } from "./ops.ts";
import { createReferenceOps } from "./reference/reference-ops.ts";
import { nodesNote, planThreads } from "./thread-count.ts";

export type Backend = "auto" | "native" | "reference";

export interface CreateOpsOptions {
  /** As in `OpsOptions`. */
  readonly numThreads: number;
  readonly backend: Backend;
  /** Instruction set to use instead of the best one (MILLRACE_ISA): `amx`, `avx512-bf16`, `avx512` or `avx2`; default `auto`. */
  readonly isa?: string;
  /** Default `auto`: `f32`, as no other has been shown to be faster at equal bits. */
  readonly attentionDtype?: AttentionDtype | "auto";
}

export interface CreatedOps {
  readonly ops: Ops;
  /** What a person should read at start: backend, instruction set, threads, fallbacks. */
  readonly notes: string[];
}

/** What `millrace doctor` tells of the native kernels. */
export interface NativeStatus {
  readonly available: boolean;
  /** Why not; empty when available. */
  readonly reason: string;
  /** Instruction sets that this machine and this build have, fastest first. */
  readonly isas: readonly string[];
  /** Why AMX, which the processor has, is not among them; empty where it is or there is none. */
  readonly amxRefusal: string;
  readonly numThreads: number;
  readonly threadReason: string;
}

export function nativeStatus(): NativeStatus {
  const { addon, reason } = loadAddon();
  const plan = planThreads();
  return {
    available: addon !== undefined,
    reason,
    isas: addon?.listIsas() ?? [],
    amxRefusal: addon?.amxRefusal() ?? "",
    numThreads: plan.numThreads,
    threadReason: plan.reason,
  };
}

/**
 * Makes the backend: native kernels where they can be loaded, otherwise the reference backend with a note.
 *
 * @throws native_unavailable when `native` was asked for and is not there, isa_unavailable for an instruction set
 *   that this machine or build lacks
 */
export function createOps(options: CreateOpsOptions): CreatedOps {
  const attentionDtype = options.attentionDtype === "bf16" ? "bf16" : "f32";
  if (options.backend === "reference") {
    return {
      ops: createReferenceOps({ numThreads: options.numThreads, attentionDtype }),
      notes: ["Kernels: reference backend (slow, for checking only)."],
    };
  }
  const { addon, reason } = loadAddon();
  if (addon === undefined) {
    if (options.backend === "native") {
      throw new MillraceError(
        "native_unavailable",
        `The native backend was asked for, but ${reason}. It needs x86-64 with AVX2 and a C++ compiler: ` +
          "run `npx millrace doctor --build`, or use the reference backend.",
      );
    }
    const note =
      `WARNING: native kernels are not in use, because ${reason}. The reference backend is more than a hundred ` +
      "times slower. Install g++ or clang++ and run `npx millrace doctor --build`.";
    return {
      ops: createReferenceOps({ numThreads: options.numThreads, attentionDtype }),
      notes: [note],
    };
  }
  const refusal = amxNote(addon.amxRefusal());
  const isa = chooseIsa(addon.listIsas(), options.isa, refusal);
  const own = planThreads();
  const plan = options.numThreads > 0 ? { ...own, numThreads: options.numThreads, reason: "as asked" } : own;
  const ops = createNativeOps(addon, { isa, numThreads: plan.numThreads, attentionDtype });
  const note = `Kernels: native, ${isa}, ${countOf(plan.numThreads, "thread")} (${plan.reason}).`;
  const isFallback = refusal !== "" && isAuto(options.isa);
  const notes = [note, isFallback ? refusal : "", nodesNote(plan)];
  return { ops, notes: notes.filter((text) => text !== "") };
}

/** A sentence of what AMX is missing; empty where it is there, or not in the processor. */
export function amxNote(refusal: string): string {
  return refusal === "" ? "" : `AMX is in the processor but not in use: ${refusal}.`;
}

function isAuto(isa: string | undefined): isa is undefined | "" | "auto" {
  return isa === undefined || isa === "" || isa === "auto";
}

function chooseIsa(available: readonly string[], asked: string | undefined, refusal: string): string {
  const best = available[0]!;
  if (isAuto(asked)) return best;
  if (available.includes(asked)) return asked;
  throw new MillraceError(
    "isa_unavailable",
    `The instruction set "${asked}" is not available; this machine and build have ${available.join(", ")}. ` +
      (asked === "amx" && refusal !== "" ? `${refusal} ` : "") +
      "Give one of these as --isa or MILLRACE_ISA, or leave it out.",
    { param: "MILLRACE_ISA" },
  );
}
