import type { Checkpoint } from "../../formats/checkpoint.ts";
import { resolvePlan } from "../../quantize/resolve-plan.ts";
import { type Allocation, allocateTypes, type TypeGroup } from "./allocate-types.ts";
import { bestMethod, type Candidate, type LadderOptions, type Recipe } from "./ladder.ts";

/** Sizes that are tried between the smallest and the largest allocation. */
const numSizes = 12;

/**
 * GGUF files in which each group of matrices has a type of its own: evenly from the smallest to the largest, and the
 * largest that `maxBytes` allows.
 */
export function mixedCandidates(
  checkpoint: Checkpoint,
  groups: readonly TypeGroup[],
  { dtype, tokenizer, ignore, isCalibrated, maxBytes }: LadderOptions & { readonly maxBytes: number },
): readonly Candidate[] {
  const candidateOf = (allocation: Allocation): Candidate => {
    const types = Object.fromEntries(
      groups.flatMap(({ modules }, i) => modules.map((module) => [module, allocation.choices[i]!.type])),
    );
    const recipe: Recipe = { scheme: "q4_k_m", groupSize: null, ...bestMethod(isCalibrated), types };
    const plan = { ...recipe, dtype, tokenizer, ignore, outPath: "" };
    const { sizeBytes } = resolvePlan(checkpoint, plan).output;
    // To the byte, as allocations of small models differ by less than a tenth of a megabyte: names are folders.
    return { name: `mixed-${(sizeBytes / 1e6).toFixed(6)}MB`, recipe, sizeBytes, family: "mixed" };
  };
  const allocations = allocateTypes(groups);
  const [least, most] = [allocations[0]!.sizeBytes, allocations.at(-1)!.sizeBytes];
  // What a file holds beside the matrices that have types of their own.
  const rest = candidateOf(allocations[0]!).sizeBytes - least;
  const sizes = Array.from({ length: numSizes }, (_, i) => least + ((most - least) * i) / (numSizes - 1));
  const chosen = [...sizes, maxBytes - rest].map((size) =>
    allocations.findLast((own) => own.sizeBytes <= size),
  );
  return [...new Set(chosen)].flatMap((allocation) =>
    allocation === undefined ? [] : [candidateOf(allocation)],
  );
}
