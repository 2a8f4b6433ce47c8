const stateSize = 624;
const shiftSize = 397;

/**
 * Python's `random.Random(seed)`: the Mersenne Twister MT19937 (Matsumoto and Nishimura 1998) seeded by `init_by_array`
 * with the one word `seed`, and the methods that lm-eval draws with. The same seed gives the same draws as in Python.
 */
export class PythonRandom {
  readonly #state = new Uint32Array(stateSize);
  #next = stateSize;
  #nextGauss: number | null = null;

  /** `seed`: a whole number of at most 32 bits. */
  constructor(seed: number) {
    this.#initByArray(seed >>> 0);
  }

  /** `random()`: a double in [0, 1) with 53 random bits. */
  random(): number {
    const high = this.#word() >>> 5;
    const low = this.#word() >>> 6;
    return (high * 67108864 + low) / 9007199254740992;
  }

  /** `gauss(0, 1)`: Box and Muller's method, two values a time. */
  gauss(): number {
    if (this.#nextGauss !== null) {
      const kept = this.#nextGauss;
      this.#nextGauss = null;
      return kept;
    }
    const angle = this.random() * 2 * Math.PI;
    const radius = Math.sqrt(-2 * Math.log(1 - this.random()));
    this.#nextGauss = Math.sin(angle) * radius;
    return Math.cos(angle) * radius;
  }

  /** `_randbelow(n)`: the top bits of a word, drawn again while they reach n. */
  below(n: number): number {
    const numBits = 32 - Math.clz32(n);
    for (;;) {
      const value = this.#word() >>> (32 - numBits);
      if (value < n) return value;
    }
  }

  /** `sample(population, count)`: without replacement, in the order of drawing. */
  sample<T>(population: readonly T[], count: number): T[] {
    const size = population.length;
    return size <= poolLimit(count)
      ? this.#sampleByPool(population, count)
      : this.#sampleBySet(population, count);
  }

  #sampleByPool<T>(population: readonly T[], count: number): T[] {
    const pool = [...population];
    const drawn: T[] = [];
    for (let i = 0; i < count; i += 1) {
      const at = this.below(population.length - i);
      drawn.push(pool[at]!);
      pool[at] = pool[population.length - i - 1]!;
    }
    return drawn;
  }

  #sampleBySet<T>(population: readonly T[], count: number): T[] {
    const taken = new Set<number>();
    while (taken.size < count) taken.add(this.below(population.length));
    return Array.from(taken, (at) => population[at]!);
  }

  #initByArray(key: number): void {
    const state = this.#state;
    state[0] = 19650218;
    for (let i = 1; i < stateSize; i += 1) state[i] = Math.imul(1812433253, mixed(state, i)) + i;
    let i = 1;
    for (let step = 0; step < stateSize; step += 1) {
      state[i] = (state[i]! ^ Math.imul(mixed(state, i), 1664525)) + key;
      i = nextIndex(state, i);
    }
    for (let step = 1; step < stateSize; step += 1) {
      state[i] = (state[i]! ^ Math.imul(mixed(state, i), 1566083941)) - i;
      i = nextIndex(state, i);
    }
    state[0] = 0x80000000;
  }

  #word(): number {
    if (this.#next === stateSize) this.#twist();
    let word = this.#state[this.#next]!;
    this.#next += 1;
    word ^= word >>> 11;
    word ^= (word << 7) & 0x9d2c5680;
    word ^= (word << 15) & 0xefc60000;
    return (word ^ (word >>> 18)) >>> 0;
  }

  #twist(): void {
    const state = this.#state;
    for (let i = 0; i < stateSize; i += 1) {
      const word = (state[i]! & 0x80000000) | (state[(i + 1) % stateSize]! & 0x7fffffff);
      const twisted = (word >>> 1) ^ (word & 1 ? 0x9908b0df : 0);
      state[i] = state[(i + shiftSize) % stateSize]! ^ twisted;
    }
    this.#next = 0;
  }
}

function mixed(state: Uint32Array, i: number): number {
  return state[i - 1]! ^ (state[i - 1]! >>> 30);
}

function nextIndex(state: Uint32Array, i: number): number {
  if (i + 1 < stateSize) return i + 1;
  state[0] = state[stateSize - 1]!;
  return 1;
}

/** Up to this many, Python copies the population and swaps; above, it draws and skips repeats. */
function poolLimit(count: number): number {
  return count > 5 ? 21 + 4 ** Math.ceil(Math.log(count * 3) / Math.log(4)) : 21;
}
