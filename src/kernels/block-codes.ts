import { type BlockTraits, type BlockType, blockTraits } from "./block-types.ts";

/** The integers that weights are rounded to. */
export interface CodeRange {
  readonly least: number;
  readonly most: number;
  /** Those there are, rising from the least to the most; null for all between. */
  readonly levels: Int8Array | null;
}

/** All integers in [least, most]. */
export function allIntegers(least: number, most: number): CodeRange {
  return { least, most, levels: null };
}

/** The integers of a type, as `putBlockCodes` takes them; 8 bits keep to ±127, as some kernels need. */
export function blockCodeRange(type: BlockType): CodeRange {
  const { bits, hasMinimums, levels } = blockTraits[type];
  if (levels !== undefined) return { least: levels[0]!, most: levels.at(-1)!, levels };
  if (hasMinimums) return allIntegers(0, 2 ** bits - 1);
  const most = 2 ** (bits - 1) - 1;
  return allIntegers(bits === 8 ? -most : -most - 1, most);
}

/**
 * Puts integers into whole blocks, whose scales and minimums stay: w = scale · q + minimum, where q is signed if the type
 * has no minimums and else counts from 0. Bytes lie as ggml has them (block_q4_0 and the like).
 *
 * @param codes one for each value of the blocks
 */
export function putBlockCodes(type: BlockType, codes: ArrayLike<number>, blocks: Uint8Array): void {
  const traits = blockTraits[type];
  if (traits.levels !== undefined) putLevels(codes, blocks, traits.levels);
  else if (traits.size === 32) putSmall(codes, blocks, traits);
  else if (traits.bits === 6) putSixBits(codes, blocks, traits);
  else putSuper(codes, blocks, traits);
}

/** f16 scale, f16 minimum if there is one, u32 of fifth bits if there are five; byte j holds value j and, above it, value j + 16. */
function putSmall(
  codes: ArrayLike<number>,
  blocks: Uint8Array,
  { bits, bytes, hasMinimums }: BlockTraits,
): void {
  const offset = hasMinimums ? 0 : 2 ** (bits - 1);
  for (let block = 0, from = 0; from < codes.length; block += bytes, from += 32) {
    let at = block + (hasMinimums ? 4 : 2);
    if (bits === 8) {
      for (let i = 0; i < 32; i += 1) blocks[at + i] = codes[from + i]!;
      continue;
    }
    if (bits === 5) {
      let fifths = 0;
      for (let i = 0; i < 32; i += 1) fifths |= ((codes[from + i]! + offset) >> 4) << i;
      for (let i = 0; i < 4; i += 1) blocks[at + i] = fifths >> (8 * i);
      at += 4;
    }
    for (let i = 0; i < 16; i += 1)
      blocks[at + i] = ((codes[from + i]! + offset) & 15) | (((codes[from + i + 16]! + offset) & 15) << 4);
  }
}

/** f16 scale, then places in the table as Q4_0 has its codes. */
function putLevels(codes: ArrayLike<number>, blocks: Uint8Array, levels: Int8Array): void {
  const places = new Map([...levels].map((level, place) => [level, place]));
  const placeOf = (i: number): number => places.get(codes[i]!)!;
  for (let block = 0, from = 0; from < codes.length; block += 18, from += 32)
    for (let i = 0; i < 16; i += 1) blocks[block + 2 + i] = placeOf(from + i) | (placeOf(from + i + 16) << 4);
}

/** Q4_K and Q5_K: 16 bytes of scales and minimums, 32 bytes of fifth bits if there are five, nibbles of 64 values in 32 bytes. */
function putSuper(codes: ArrayLike<number>, blocks: Uint8Array, { bits, bytes }: BlockTraits): void {
  for (let block = 0, from = 0; from < codes.length; block += bytes, from += 256) {
    let at = block + 16;
    if (bits === 5) {
      for (let i = 0; i < 32; i += 1) {
        let high = 0;
        for (let group = 0; group < 8; group += 1) high |= (codes[from + group * 32 + i]! >> 4) << group;
        blocks[at + i] = high;
      }
      at += 32;
    }
    for (let run = 0; run < 4; run += 1)
      for (let i = 0; i < 32; i += 1) {
        const first = from + run * 64 + i;
        blocks[at + run * 32 + i] = (codes[first]! & 15) | ((codes[first + 32]! & 15) << 4);
      }
  }
}

/** Q6_K: 128 bytes of low nibbles, 64 of upper pairs of bits, then the scales. */
function putSixBits(codes: ArrayLike<number>, blocks: Uint8Array, { bytes }: BlockTraits): void {
  const offset = 32;
  for (let block = 0, from = 0; from < codes.length; block += bytes, from += 256) {
    for (let half = 0; half < 2; half += 1) {
      for (let i = 0; i < 32; i += 1) {
        const first = from + half * 128 + i;
        const [a, b] = [codes[first]! + offset, codes[first + 32]! + offset];
        const [c, d] = [codes[first + 64]! + offset, codes[first + 96]! + offset];
        const at = block + half * 64 + i;
        blocks[at] = (a & 15) | ((c & 15) << 4);
        blocks[at + 32] = (b & 15) | ((d & 15) << 4);
        blocks[block + 128 + half * 32 + i] = (a >> 4) | ((b >> 4) << 2) | ((c >> 4) << 4) | ((d >> 4) << 6);
      }
    }
  }
}
