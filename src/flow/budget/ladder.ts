import { isMillraceError } from "../../base/errors.ts";
import type { Checkpoint } from "../../formats/checkpoint.ts";
import type { QuantizePlan } from "../../quantize/plan.ts";
import { resolvePlan } from "../../quantize/resolve-plan.ts";

/** What a search chooses; all else of a plan is the same for all candidates. */
export type Recipe = Pick<
  QuantizePlan,
  "scheme" | "groupSize" | "symmetric" | "head" | "method" | "smooth" | "types"
>;

export interface Candidate {
  /** For people and as a folder's name: "w4a16-g32-head-int8". */
  readonly name: string;
  readonly recipe: Recipe;
  /** Of all tensors, known before any is made. */
  readonly sizeBytes: number;
}

export interface LadderOptions {
  readonly dtype: QuantizePlan["dtype"];
  readonly ignore: readonly string[];
  /** Whether methods can see what goes into the linears. */
  readonly isCalibrated: boolean;
}

const grids: readonly Pick<Recipe, "scheme" | "groupSize" | "symmetric">[] = [
  { scheme: "w2a16", groupSize: 32 },
  { scheme: "w3a16", groupSize: 64 },
  { scheme: "w3a16", groupSize: 32 },
  { scheme: "w4a16", groupSize: 128 },
  { scheme: "w4a16", groupSize: 64 },
  { scheme: "w4a16", groupSize: 32 },
  { scheme: "w4a16", groupSize: 32, symmetric: false },
  { scheme: "w8a8", groupSize: null },
  { scheme: "w8a16", groupSize: null },
];

/** Everything that is worth trying on a model, smallest first. */
export function listCandidates(checkpoint: Checkpoint, options: LadderOptions): readonly Candidate[] {
  const { dtype, ignore, isCalibrated } = options;
  const found: Candidate[] = [];
  for (const grid of grids) {
    for (const head of ["int8", "bf16"] as const) {
      const recipe: Recipe = { symmetric: true, ...grid, head, ...bestMethod(grid.scheme, isCalibrated) };
      const sizeBytes = sizeOf(checkpoint, { ...recipe, dtype, ignore, outPath: "" });
      if (sizeBytes !== null) found.push({ name: nameOf(recipe), recipe, sizeBytes });
    }
  }
  return found.toSorted((a, b) => a.sizeBytes - b.sizeBytes);
}

/** Passing errors on pays at 4 bits and below; 8 bits lose by what goes in, which moving size helps. */
function bestMethod(scheme: Recipe["scheme"], isCalibrated: boolean): Pick<Recipe, "method" | "smooth"> {
  if (!isCalibrated) return { method: "mse", smooth: false };
  if (scheme === "w8a8") return { method: "mse", smooth: true };
  return { method: scheme === "w8a16" ? "mse" : "gptq", smooth: false };
}

function nameOf({ scheme, groupSize, symmetric, head }: Recipe): string {
  const group = groupSize === null ? "" : `-g${groupSize}`;
  return `${scheme}${group}${symmetric === false ? "-asym" : ""}-head-${head}`;
}

/** Null for groups that do not divide the model's widths. */
function sizeOf(checkpoint: Checkpoint, plan: QuantizePlan): number | null {
  try {
    return resolvePlan(checkpoint, plan).output.sizeBytes;
  } catch (error) {
    if (isMillraceError(error) && error.code === "invalid_scheme") return null;
    throw error;
  }
}
