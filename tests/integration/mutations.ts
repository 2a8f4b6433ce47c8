/** Numbers at the edges of what formats count with. */
const edges: readonly bigint[] = [
  0n,
  1n,
  255n,
  65_535n,
  2n ** 31n - 1n,
  2n ** 31n,
  2n ** 32n,
  2n ** 53n,
  2n ** 63n,
  2n ** 64n - 1n,
];

/** What may stand in the place of any part of a JSON file. */
const oddValues: readonly unknown[] = [
  null,
  true,
  -1,
  0,
  1,
  0.5,
  2 ** 31,
  2 ** 53,
  1e308,
  "",
  "x",
  "__proto__",
  "\u0000\ud800",
  [],
  [[]],
  [-1, 1e9],
  {},
  { type: "Sequence" },
  { length: 3 },
];

/** A reproducible source of changes to files: everything follows from the seed. */
export class MutationSource {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  /** mulberry32: a whole number from 0 to `limit` − 1. */
  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * limit);
  }

  flip(probability = 0.5): boolean {
    return this.below(1 << 20) < probability * (1 << 20);
  }

  /** A copy with up to `most` changes: bytes, edge numbers, runs cut out, doubled or moved, the end cut off. */
  bytes(source: Uint8Array, most: number): Buffer {
    let out = Buffer.from(source);
    for (let i = this.below(most + 1); i > 0 && out.length > 8; i -= 1) {
      const at = this.below(out.length - 8);
      const length = 1 + this.below(Math.min(64, out.length - at));
      switch (this.below(6)) {
        case 0:
          out[at] = this.below(256);
          break;
        case 1:
          out.writeBigUInt64LE(edges[this.below(edges.length)]!, at);
          break;
        case 2:
          out = Buffer.concat([out.subarray(0, at), out.subarray(at + length)]);
          break;
        case 3:
          out = Buffer.concat([out.subarray(0, at + length), out.subarray(at)]);
          break;
        case 4:
          out.copy(out, this.below(out.length - 8), at, at + length);
          break;
        default:
          if (this.flip(0.2)) out = out.subarray(0, at);
          else out[at] = out[at]! ^ (1 << this.below(8));
      }
    }
    return out;
  }

  /** The text of a JSON file with one to three parts replaced, left out or renamed. */
  json(text: string): string {
    const root = JSON.parse(text) as unknown;
    for (let i = 1 + this.below(3); i > 0; i -= 1) this.#changePart(root);
    return JSON.stringify(root);
  }

  /** Goes down a random way, ending earlier more often than at a leaf, and changes what is there. */
  #changePart(root: unknown): void {
    let parent = root as Record<string, unknown>;
    while (typeof parent === "object" && parent !== null) {
      const keys = Object.keys(parent);
      const key = keys[this.below(keys.length)];
      if (key === undefined) return;
      const child = parent[key];
      if (typeof child === "object" && child !== null && this.flip(0.7)) {
        parent = child as Record<string, unknown>;
        continue;
      }
      if (this.flip(0.2)) delete parent[key];
      else if (this.flip(0.1)) parent[`${key}x`] = child;
      else parent[key] = structuredClone(oddValues[this.below(oddValues.length)]);
      return;
    }
  }
}
