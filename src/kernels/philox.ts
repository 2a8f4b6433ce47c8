const multiplier0 = 0xd2511f53;
const multiplier1 = 0xcd9e8d57;
const weyl0 = 0x9e3779b9;
const weyl1 = 0xbb67ae85;
const numRounds = 10;

/** High 32 bits of the product of two unsigned 32-bit integers. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const carry = aLow * bHigh + (middle % 65536);
  return (aHigh * bHigh + Math.floor(middle / 65536) + Math.floor(carry / 65536)) >>> 0;
}

/**
 * Philox4x32-10, the counter-based generator of Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3" (2011):
 * a pure function of counter and key, so that a draw does not depend on the draws before it.
 *
 * @param counter [4] unsigned words, replaced by the four random words
 */
export function philox4x32(counter: Uint32Array, keyLow: number, keyHigh: number): void {
  let key0 = keyLow >>> 0;
  let key1 = keyHigh >>> 0;
  for (let round = 0; round < numRounds; round += 1) {
    const c0 = counter[0]!;
    const c2 = counter[2]!;
    counter[0] = multiplyHigh(multiplier1, c2) ^ counter[1]! ^ key0;
    counter[2] = multiplyHigh(multiplier0, c0) ^ counter[3]! ^ key1;
    counter[1] = Math.imul(multiplier1, c2);
    counter[3] = Math.imul(multiplier0, c0);
    key0 = (key0 + weyl0) >>> 0;
    key1 = (key1 + weyl1) >>> 0;
  }
}

const block: Uint32Array = new Uint32Array(4);

/** The uniform number in [0, 1) of one draw, 53 bits: see `SamplingBatch`. */
export function uniformDraw(keyLow: number, keyHigh: number, outputIndex: number, sequence: number): number {
  block[0] = outputIndex;
  block[1] = sequence;
  block[2] = 0;
  block[3] = 0;
  philox4x32(block, keyLow, keyHigh);
  return (block[0] * 2 ** 21 + (block[1] >>> 11)) * 2 ** -53;
}
