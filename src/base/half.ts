/** Conversions between f32 and the 16-bit float types, bit-exact with hardware (round half to even). */

const scratch: Float32Array = new Float32Array(1);
const scratchBits: Uint32Array = new Uint32Array(scratch.buffer);

/** bfloat16 bits of an f32 value, round half to even; NaN stays NaN. */
export function f32ToBf16(value: number): number {
  scratch[0] = value;
  const bits = scratchBits[0]!;
  if ((bits & 0x7fffffff) > 0x7f800000) return ((bits >>> 16) | 0x40) & 0xffff;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

export function bf16ToF32(bits: number): number {
  scratchBits[0] = bits << 16;
  return scratch[0]!;
}

/** IEEE binary16 bits of an f32 value, round half to even, overflow to infinity. */
export function f32ToF16(value: number): number {
  scratch[0] = value;
  const bits = scratchBits[0]!;
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x47800000) return sign | 0x7c00;
  if (magnitude < 0x38800000) return sign | roundSubnormal(magnitude);
  const rounded = magnitude + 0xfff + ((magnitude >>> 13) & 1);
  return sign | ((rounded - 0x38000000) >>> 13);
}

/** Subnormal halves are multiples of 2^-24; below half of the smallest one the result is zero. */
function roundSubnormal(magnitude: number): number {
  const exponent = magnitude >>> 23;
  if (exponent < 102) return 0;
  const mantissa = (magnitude & 0x7fffff) | 0x800000;
  const shift = 126 - exponent;
  const floor = mantissa >>> shift;
  const remainder = mantissa & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  return floor + (remainder > half || (remainder === half && (floor & 1) === 1) ? 1 : 0);
}

const f16Table: Float32Array = buildF16Table();

function buildF16Table(): Float32Array {
  const table = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits += 1) {
    const exponent = (bits >>> 10) & 31;
    const mantissa = bits & 1023;
    const sign = bits & 0x8000 ? -1 : 1;
    if (exponent === 31) table[bits] = mantissa === 0 ? sign * Infinity : NaN;
    else if (exponent === 0) table[bits] = sign * mantissa * 2 ** -24;
    else table[bits] = sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
  }
  return table;
}

export function f16ToF32(bits: number): number {
  return f16Table[bits]!;
}

/** Doubles from 2^52 to 2^53 are one apart, so that a sum in that range is rounded to an integer, ties to even. */
const roundingShift = 1.5 * 2 ** 52;

/** Rounds to the nearest integer, ties to even; for |x| < 2^51. `Math.round` sends ties upwards. */
export function roundHalfEven(x: number): number {
  return x + roundingShift - roundingShift;
}
