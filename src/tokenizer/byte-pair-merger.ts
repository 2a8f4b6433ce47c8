/** The two texts of a merge: "left right", neither with a space in it, or the pair. */
export type MergeTexts = string | readonly [string, string];

/** Longer words are merged over a heap: one word of a prompt may have a million letters. */
const longWordLength = 64;
/** How many words are remembered, and which are too long for it. */
const maxRemembered = 10_000;
const maxRememberedLength = 256;

/**
 * Byte-pair merging (Sennrich et al. 2016, section 3.2): of all neighbours in a word those with the best merge are
 * joined, the leftmost first, until none has one. Gives the texts of a word's tokens.
 *
 * @param merges best first; asked for at the first word
 */
export function bytePairMerger(merges: () => readonly MergeTexts[]): (word: string) => readonly string[] {
  let merger: BytePairMerger | undefined;
  const remembered = new Map<string, readonly string[]>();
  return (word) => {
    const known = remembered.get(word);
    if (known !== undefined) return known;
    merger ??= new BytePairMerger(merges());
    const tokens = merger.merge(word);
    if (word.length > maxRememberedLength) return tokens;
    if (remembered.size === maxRemembered) remembered.clear();
    remembered.set(word, tokens);
    return tokens;
  };
}

const noMerge = Number.POSITIVE_INFINITY;

class BytePairMerger {
  /** By the merge's text in the file: a table by ids merges faster, but takes six times as long to build. */
  readonly #ranks: Map<string, number> = new Map();
  readonly #arePairs: boolean;

  constructor(merges: readonly MergeTexts[]) {
    this.#arePairs = typeof merges[0] !== "string";
    for (let rank = 0; rank < merges.length; rank += 1) {
      const merge = merges[rank]!;
      this.#ranks.set(typeof merge === "string" ? merge : this.#keyOf(...merge), rank);
    }
  }

  merge(word: string): readonly string[] {
    const texts = Array.from(word);
    return texts.length > longWordLength ? this.#mergeLong(texts) : this.#mergeShort(texts);
  }

  /** Texts of pairs may have spaces, so that their key says where the left one ends. */
  #keyOf(left: string, right: string): string {
    return this.#arePairs ? `${left.length} ${left}${right}` : `${left} ${right}`;
  }

  #rankOf(left: string | undefined, right: string | undefined): number {
    if (left === undefined || right === undefined) return noMerge;
    return this.#ranks.get(this.#keyOf(left, right)) ?? noMerge;
  }

  /** Looks at all neighbours for each merge, which is the quickest for a word of usual length. */
  #mergeShort(texts: string[]): string[] {
    const ranks = texts.map((text, i) => this.#rankOf(text, texts[i + 1]));
    for (;;) {
      let at = 0;
      for (let i = 1; i < ranks.length; i += 1) if (ranks[i]! < ranks[at]!) at = i;
      if ((ranks[at] ?? noMerge) === noMerge) return texts;
      texts[at] += texts[at + 1]!;
      texts.splice(at + 1, 1);
      ranks.splice(at, 1);
      ranks[at] = this.#rankOf(texts[at], texts[at + 1]);
      if (at > 0) ranks[at - 1] = this.#rankOf(texts[at - 1], texts[at]);
    }
  }

  /** O(n log n). A text that went into the one before it is empty. */
  #mergeLong(texts: string[]): string[] {
    const count = texts.length;
    const next = Int32Array.from(texts, (_, i) => i + 1);
    const previous = Int32Array.from(texts, (_, i) => i - 1);
    const ranks = new Float64Array(count).fill(noMerge);
    const heap = new PairHeap();
    const offer = (at: number): void => {
      if (at < 0) return;
      const rank = this.#rankOf(texts[at], texts[next[at]!]);
      ranks[at] = rank;
      if (rank !== noMerge) heap.push(rank, at);
    };
    for (let i = 0; i < count; i += 1) offer(i);
    for (let at = heap.pop(); at !== undefined; at = heap.pop()) {
      // An entry is stale when one of its two texts has changed since; the new pair has an entry of its own.
      if (ranks[at] !== heap.lastRank) continue;
      const right = next[at]!;
      texts[at] += texts[right]!;
      texts[right] = "";
      ranks[right] = noMerge;
      const after = next[right]!;
      next[at] = after;
      if (after < count) previous[after] = at;
      offer(previous[at]!);
      offer(at);
    }
    return texts.filter((text) => text !== "");
  }
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
