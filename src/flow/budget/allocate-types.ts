import type { TensorTypes } from "../../quantize/plan.ts";

/** One way to hold matrices that are rounded alike, and the KL that it is expected to cost. */
export interface TypeOption {
  readonly type: TensorTypes[string];
  readonly sizeBytes: number;
  readonly kl: number;
}

/** Matrices that run as one (q, k and v; gate and up), with their options. */
export interface TypeGroup {
  readonly modules: readonly string[];
  readonly options: readonly TypeOption[];
}

/** One type for each group. */
export interface Allocation {
  readonly choices: readonly TypeOption[];
  readonly sizeBytes: number;
  /** The sum of what each choice is expected to cost. */
  readonly kl: number;
}

/**
 * The allocations on the lower hull of size and expected KL, smallest first: each minimises KL + λ · bytes for some λ, and
 * the next one spends its bytes where a byte takes away the most KL (Lagrangian allocation; Shoham and Gersho 1988).
 */
export function allocateTypes(groups: readonly TypeGroup[]): readonly Allocation[] {
  const hulls = groups.map(({ options }) => lowerHull(options));
  const steps = hulls.flatMap((hull, group) =>
    hull.slice(1).map((to, index) => ({ group, to, gain: gainOf(hull[index]!, to) })),
  );
  steps.sort((a, b) => b.gain - a.gain);
  const choices = hulls.map((hull) => hull[0]!);
  const found = [describe(choices)];
  for (const { group, to } of steps) {
    choices[group] = to;
    found.push(describe(choices));
  }
  return found;
}

function describe(choices: readonly TypeOption[]): Allocation {
  const sum = (of: (option: TypeOption) => number): number =>
    choices.reduce((total, option) => total + of(option), 0);
  return {
    choices: [...choices],
    sizeBytes: sum((option) => option.sizeBytes),
    kl: sum((option) => option.kl),
  };
}

/** Options by size, each step of which takes away less KL per byte than the one before it. */
function lowerHull(options: readonly TypeOption[]): readonly TypeOption[] {
  const hull: TypeOption[] = [];
  for (const option of options.toSorted((a, b) => a.sizeBytes - b.sizeBytes || a.kl - b.kl)) {
    if (hull.length > 0 && option.kl >= hull.at(-1)!.kl) continue;
    while (hull.length > 1 && gainOf(hull.at(-2)!, hull.at(-1)!) <= gainOf(hull.at(-1)!, option)) hull.pop();
    hull.push(option);
  }
  return hull;
}

/** KL that a byte takes away. */
function gainOf(from: TypeOption, to: TypeOption): number {
  return (from.kl - to.kl) / (to.sizeBytes - from.sizeBytes);
}
