import { f16ToF32, f32ToF16 } from "../../base/half.ts";
import { blockCodeRange, type CodeRange } from "../block-codes.ts";
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
import { packSmallBlock, type SmallBlock } from "./pack-blocks.ts";

/** The value of an f32 number as f16. */
export function toHalf(value: number): number {
  return f16ToF32(f32ToF16(value));
}

/** Group `index` of `size` values, counted over all rows. */
export function groupOf({ values, importance, cols }: BlockJob, start: number, size: number): WeightedGroup {
  const x = Float64Array.from(values.subarray(start, start + size));
  const column = start % cols;
  const w =
    importance === null
      ? new Float64Array(size).fill(1)
      : Float64Array.from(importance.subarray(column, column + size));
  return { x, w };
}

/** Blocks of 32 with a scale, and a minimum where the type has one, that are searched for; of a table also plain ones. */
export function searchSmallBlocks(job: BlockJob): void {
  const { type, values, isSearched, blocks } = job;
  const { hasMinimums, bytes } = blockTraits[type];
  for (let block = 0; block * 32 < values.length; block += 1) {
    const group = groupOf(job, block * 32, 32);
    const range = blockCodeRange(type);
    const found = hasMinimums ? searchAffine(group, range) : searchSymmetric(group, range, isSearched);
    packSmallBlock(blocks.subarray(block * bytes, (block + 1) * bytes), type, found);
  }
}

/** The better of what is fitted and of the plain scale, as f16 holds them. */
function searchAffine(group: WeightedGroup, range: CodeRange): SmallBlock {
  const { low, high } = rangeOf(group, false);
  const fitted = halves(fitAffine(group, range.most, false));
  const plain = halves({ scale: (high - low) / range.most, minimum: low });
  const best = affineError(group, plain, range) < affineError(group, fitted, range) ? plain : fitted;
  return { ...best, codes: codesOf(group, best, range) };
}

function searchSymmetric(group: WeightedGroup, range: CodeRange, isSearched: boolean): SmallBlock {
  const plain = halves({ scale: extremeOf(group) / range.least, minimum: 0 });
  const fitted = isSearched ? halves({ scale: fitSymmetric(group, range), minimum: 0 }) : plain;
  const best = affineError(group, plain, range) < affineError(group, fitted, range) ? plain : fitted;
  return { ...best, codes: codesOf(group, best, range) };
}

function halves({ scale, minimum }: AffineScale): AffineScale {
  return { scale: toHalf(scale), minimum: toHalf(minimum) };
}

function codesOf({ x }: WeightedGroup, { scale, minimum }: AffineScale, range: CodeRange): Int32Array {
  const inverse = scale === 0 ? 0 : 1 / scale;
  return Int32Array.from(x, (value) => codeOf(value, inverse, -minimum, range));
}
