import { roundHalfEven } from "../../base/half.ts";
import { allIntegers, type CodeRange } from "../block-codes.ts";
import { type BlockJob, blockTraits } from "../block-types.ts";
import {
  type AffineScale,
  affineError,
  codeOf,
  extremeOf,
  fitAffine,
  fitSymmetric,
  rangeOf,
  type WeightedGroup,
} from "./block-fit.ts";
import {
  type AffineSuperBlock,
  packAffineSuperBlock,
  packSymmetricSuperBlock,
  type SymmetricSuperBlock,
} from "./pack-blocks.ts";
import { groupOf, toHalf } from "./search-blocks.ts";

const blockSize = 256;

/** The scales of scales are fitted to what they led to, so often. */
const numRefits = 2;

/** Blocks of 256 whose groups have scales, and minimums, of six or eight bits times an f16 number. */
export function roundSuperBlocks(job: BlockJob): void {
  const { type, values, blocks, isSearched } = job;
  const { bits, bytes, groupSize } = blockTraits[type];
  for (let block = 0; block * blockSize < values.length; block += 1) {
    const groups = Array.from({ length: blockSize / groupSize }, (_, j) =>
      groupOf(job, block * blockSize + j * groupSize, groupSize),
    );
    const out = blocks.subarray(block * bytes, (block + 1) * bytes);
    if (bits === 6) packSymmetricSuperBlock(out, symmetricBlock(groups, isSearched));
    else
      packAffineSuperBlock(
        out,
        type as "Q4_K" | "Q5_K",
        affineBlock(groups, allIntegers(0, 2 ** bits - 1), isSearched),
      );
  }
}

/** Two numbers that all integers of a block's groups are multiplied with. */
interface BlockScales {
  readonly d: number;
  readonly dmin: number;
}

interface GroupChoice {
  readonly scale: number;
  readonly minimum: number;
  readonly error: number;
}

function affineBlock(
  groups: readonly WeightedGroup[],
  range: CodeRange,
  isSearched: boolean,
): AffineSuperBlock {
  const wanted = groups.map((group) => {
    if (isSearched) return fitAffine(group, range.most, true);
    const { low, high } = rangeOf(group, true);
    return { scale: (high - low) / range.most, minimum: low };
  });
  let scales: BlockScales = {
    d: toHalf(Math.max(0, ...wanted.map(({ scale }) => scale)) / 63),
    dmin: toHalf(Math.max(0, ...wanted.map(({ minimum }) => -minimum)) / 63),
  };
  let best = { scales, choices: chooseAll(groups, wanted, scales, { range, isSearched }) };
  for (let i = 0; isSearched && i < numRefits; i += 1) {
    scales = refit(groups, best.choices, best.scales, range);
    const choices = chooseAll(groups, wanted, scales, { range, isSearched });
    if (totalOf(choices) < totalOf(best.choices)) best = { scales, choices };
  }
  const { d, dmin } = best.scales;
  const codes = groups.flatMap((group, j) => codesOf(group, best.scales, best.choices[j]!, range));
  return {
    d,
    dmin,
    scales: Int32Array.from(best.choices, ({ scale }) => scale),
    minimums: Int32Array.from(best.choices, ({ minimum }) => minimum),
    codes: Int32Array.from(codes),
  };
}

function chooseAll(
  groups: readonly WeightedGroup[],
  wanted: readonly AffineScale[],
  scales: BlockScales,
  options: { readonly range: CodeRange; readonly isSearched: boolean },
): readonly GroupChoice[] {
  return groups.map((group, j) => choose(group, wanted[j]!, scales, options));
}

/** The integers for a group: the nearest ones, or the best of those on either side. */
function choose(
  group: WeightedGroup,
  { scale, minimum }: AffineScale,
  { d, dmin }: BlockScales,
  { range, isSearched }: { readonly range: CodeRange; readonly isSearched: boolean },
): GroupChoice {
  const ideal = [d === 0 ? 0 : scale / d, dmin === 0 ? 0 : -minimum / dmin] as const;
  const [scaleTries, minimumTries] = ideal.map((value) => triesFor(value, 0, 63, isSearched));
  let best: GroupChoice | null = null;
  for (const ownScale of scaleTries!) {
    for (const ownMinimum of minimumTries!) {
      const error = affineError(group, { scale: d * ownScale, minimum: -(dmin * ownMinimum) }, range);
      if (best === null || error < best.error) best = { scale: ownScale, minimum: ownMinimum, error };
    }
  }
  return best!;
}

/** Integers near a number: the nearest, or one on either side. */
function triesFor(value: number, least: number, most: number, isSearched: boolean): readonly number[] {
  const clamp = (x: number): number => (x < least ? least : x > most ? most : x);
  if (!isSearched) return [clamp(roundHalfEven(value))];
  const below = Math.floor(value);
  return [clamp(below), clamp(below + 1)];
}

function totalOf(choices: readonly { readonly error: number }[]): number {
  let sum = 0;
  for (const { error } of choices) sum += error;
  return sum;
}

function codesOf(
  { x }: WeightedGroup,
  { d, dmin }: BlockScales,
  { scale, minimum }: Pick<GroupChoice, "scale" | "minimum">,
  range: CodeRange,
): readonly number[] {
  const step = d * scale;
  const inverse = step === 0 ? 0 : 1 / step;
  return Array.from(x, (value) => codeOf(value, inverse, dmin * minimum, range));
}

/** The d and dmin of the least error for the integers that were chosen, as f16 holds them. */
function refit(
  groups: readonly WeightedGroup[],
  choices: readonly GroupChoice[],
  scales: BlockScales,
  range: CodeRange,
): BlockScales {
  let [aa, ab, bb, xa, xb] = [0, 0, 0, 0, 0];
  for (const [j, group] of groups.entries()) {
    const { scale, minimum } = choices[j]!;
    const codes = codesOf(group, scales, choices[j]!, range);
    for (const [i, code] of codes.entries()) {
      const a = scale * code;
      const [x, w] = [group.x[i]!, group.w[i]!];
      aa += w * a * a;
      ab += w * a * minimum;
      bb += w * minimum * minimum;
      xa += w * x * a;
      xb += w * x * minimum;
    }
  }
  const determinant = aa * bb - ab * ab;
  if (determinant > 0) {
    const d = (xa * bb - xb * ab) / determinant;
    const dmin = (xa * ab - xb * aa) / determinant;
    if (d > 0 && dmin >= 0) return { d: toHalf(d), dmin: toHalf(dmin) };
  }
  return aa > 0 && bb === 0 && xa > 0 ? { d: toHalf(xa / aa), dmin: scales.dmin } : scales;
}

const symmetricRange = allIntegers(-32, 31);

function symmetricBlock(groups: readonly WeightedGroup[], isSearched: boolean): SymmetricSuperBlock {
  const wanted = groups.map((group) =>
    isSearched ? fitSymmetric(group, symmetricRange) : extremeOf(group) / symmetricRange.least,
  );
  let extreme = 0;
  for (const scale of wanted) if (Math.abs(scale) > Math.abs(extreme)) extreme = scale;
  const chooseScales = (d: number): readonly Pick<GroupChoice, "scale" | "error">[] =>
    groups.map((group, j) => chooseSymmetric(group, d === 0 ? 0 : wanted[j]! / d, d, isSearched));
  let best = { d: toHalf(extreme / -128), choices: chooseScales(toHalf(extreme / -128)) };
  for (let i = 0; isSearched && i < numRefits; i += 1) {
    const d = refitSymmetric(groups, best);
    const choices = chooseScales(d);
    if (totalOf(choices) < totalOf(best.choices)) best = { d, choices };
  }
  const codes = groups.flatMap(({ x }, j) => symmetricCodes(x, best.d * best.choices[j]!.scale));
  return {
    d: best.d,
    scales: Int32Array.from(best.choices, ({ scale }) => scale),
    codes: Int32Array.from(codes),
  };
}

function chooseSymmetric(
  group: WeightedGroup,
  ideal: number,
  d: number,
  isSearched: boolean,
): Pick<GroupChoice, "scale" | "error"> {
  let best: { scale: number; error: number } | null = null;
  for (const scale of triesFor(ideal, -128, 127, isSearched)) {
    const error = affineError(group, { scale: d * scale, minimum: 0 }, symmetricRange);
    if (best === null || error < best.error) best = { scale, error };
  }
  return best!;
}

function symmetricCodes(x: Float64Array, step: number): readonly number[] {
  const inverse = step === 0 ? 0 : 1 / step;
  return Array.from(x, (value) => codeOf(value, inverse, 0, symmetricRange));
}

function refitSymmetric(
  groups: readonly WeightedGroup[],
  { d, choices }: { readonly d: number; readonly choices: readonly Pick<GroupChoice, "scale">[] },
): number {
  let [aa, xa] = [0, 0];
  for (const [j, { x, w }] of groups.entries()) {
    const { scale } = choices[j]!;
    for (const [i, code] of symmetricCodes(x, d * scale).entries()) {
      const a = scale * code;
      aa += w[i]! * a * a;
      xa += w[i]! * x[i]! * a;
    }
  }
  return aa > 0 && xa !== 0 ? toHalf(xa / aa) : d;
}
