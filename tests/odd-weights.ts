/** Reproducible numbers in [−1, 1). */
export function numbers(count: number, seed: number): Float32Array {
  let state = seed;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

/**
 * Bell-shaped weights; among the first 512, groups of zeros, of one value, of denormals and of one sign.
 *
 * @param count at least 512
 */
export function oddWeights(count: number): Float32Array {
  const [a, b, c] = [1, 2, 3].map((seed) => numbers(count, seed));
  const values = a!.map((value, i) => (value + b![i]! + c![i]!) / 50);
  values.fill(0, 0, 64);
  values.fill(0.25, 64, 96);
  for (let i = 96; i < 128; i += 1) values[i] = values[i]! * 2e-38;
  for (let i = 256; i < 512; i += 1) values[i] = Math.abs(values[i]!);
  return values;
}
