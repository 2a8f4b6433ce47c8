/** Seeds for requests that bring none. */
export type SeedSource = () => bigint;

/**
 * With an engine seed, seed number n depends on that and n only (SplitMix64, Steele et al. 2014), so a run can be
 * repeated; with null every seed comes from the system's random source.
 */
export function createSeedSource(engineSeed: number | null): SeedSource {
  if (engineSeed === null) {
    const words = new BigUint64Array(1);
    return () => crypto.getRandomValues(words)[0]!;
  }
  let state = BigInt(engineSeed);
  return () => {
    state = (state + 0x9e3779b97f4a7c15n) & mask;
    let z = state;
    z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & mask;
    z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & mask;
    return z ^ (z >> 31n);
  };
}

const mask = (1n << 64n) - 1n;
