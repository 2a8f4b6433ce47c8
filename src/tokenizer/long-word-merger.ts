export interface MergeTable {
  readonly vocab: Readonly<Record<string, number>>;
  /** "left right", or the pair; best first. */
  readonly merges: readonly (string | readonly [string, string])[];
}

interface Merge {
  readonly rank: number;
  readonly id: number;
}

/** Ids stay below 2^21 so that a pair fits a number exactly. */
const pairFactor = 2 ** 21;

/**
 * Byte-pair merging of one long word in O(n log n) over flat arrays: a hostile prompt may be one word of a
 * million letters. Returns undefined when a character or a merged pair is not in the vocabulary; the caller then
 * takes the general way. The merge table is built at the first long word.
 */
export function longWordMerger(table: MergeTable): (word: string) => string[] | undefined {
  let built:
    | {
        readonly ids: Map<string, number>;
        readonly pairs: Map<number, Merge>;
        readonly texts: Map<number, string>;
      }
    | undefined;
  return (word) => {
    built ??= buildPairs(table);
    const { ids, pairs, texts } = built;
    const characters = Array.from(word);
    const symbols = new Int32Array(characters.length);
    for (const [i, character] of characters.entries()) {
      const id = ids.get(character);
      if (id === undefined) return undefined;
      symbols[i] = id;
    }
    return Array.from(mergeSymbols(symbols, pairs), (id) => texts.get(id)!);
  };
}

function buildPairs({ vocab, merges }: MergeTable): {
  ids: Map<string, number>;
  pairs: Map<number, Merge>;
  texts: Map<number, string>;
} {
  const ids = new Map(Object.entries(vocab));
  const texts = new Map(Array.from(ids, ([text, id]) => [id, text]));
  const pairs = new Map<number, Merge>();
  for (const [rank, merge] of merges.entries()) {
    const [left = "", right = ""] = typeof merge === "string" ? merge.split(" ", 2) : merge;
    const [first, second, id] = [ids.get(left), ids.get(right), ids.get(left + right)];
    if (first !== undefined && second !== undefined && id !== undefined)
      pairs.set(first * pairFactor + second, { rank, id });
  }
  return { ids, pairs, texts };
}

/** Applies the best-ranked pair first, the leftmost of equals, until none is left. `symbols` is overwritten. */
function mergeSymbols(symbols: Int32Array, pairs: ReadonlyMap<number, Merge>): Int32Array {
  const count = symbols.length;
  const next = Int32Array.from(symbols, (_, i) => i + 1);
  const previous = Int32Array.from(symbols, (_, i) => i - 1);
  const heap = new PairHeap();
  const offer = (at: number): void => {
    if (at < 0 || next[at]! >= count) return;
    const merge = pairs.get(symbols[at]! * pairFactor + symbols[next[at]!]!);
    if (merge !== undefined) heap.push(merge.rank, at);
  };
  for (let i = 0; i < count; i += 1) offer(i);
  for (let at = heap.pop(); at !== undefined; at = heap.pop()) {
    const right = symbols[at] === -1 ? count : next[at]!;
    if (right >= count) continue;
    const merge = pairs.get(symbols[at]! * pairFactor + symbols[right]!);
    // An entry is stale when one of its two symbols has changed since; the new pair has an entry of its own.
    if (merge === undefined || merge.rank !== heap.lastRank) continue;
    symbols[at] = merge.id;
    symbols[right] = -1;
    const after = next[right]!;
    next[at] = after;
    if (after < count) previous[after] = at;
    offer(previous[at]!);
    offer(at);
  }
  return symbols.filter((id) => id >= 0);
}

/** A binary heap of (rank, position), smallest first. */
class PairHeap {
  /** Rank of the entry that `pop` returned last. */
  lastRank = 0;
  /** rank · 2^32 + position, exact below 2^53. */
  readonly #keys: number[] = [];

  push(rank: number, position: number): void {
    const keys = this.#keys;
    const key = rank * 2 ** 32 + position;
    let at = keys.length;
    keys.push(key);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (keys[parent]! <= key) break;
      keys[at] = keys[parent]!;
      at = parent;
    }
    keys[at] = key;
  }

  pop(): number | undefined {
    const keys = this.#keys;
    const top = keys[0];
    const last = keys.pop();
    if (top === undefined || last === undefined) return undefined;
    if (keys.length > 0) this.#sink(last);
    this.lastRank = Math.floor(top / 2 ** 32);
    return top % 2 ** 32;
  }

  #sink(key: number): void {
    const keys = this.#keys;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= keys.length) break;
      if (child + 1 < keys.length && keys[child + 1]! < keys[child]!) child += 1;
      if (keys[child]! >= key) break;
      keys[at] = keys[child]!;
      at = child;
    }
    keys[at] = key;
  }
}
