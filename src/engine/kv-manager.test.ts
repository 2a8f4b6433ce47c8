import { describe, expect, test } from "vitest";
import { BlockPool } from "./block-pool.ts";
import { EngineCounters } from "./engine-stats.ts";
import { HostTier } from "./host-tier.ts";
import { KvManager } from "./kv-manager.ts";
import { hitEnds, PrefixCache } from "./prefix-cache.ts";
import { PrefixIndex } from "./prefix-index.ts";
import { SequenceTable, sequenceKinds } from "./sequence-table.ts";
import { type Arrival, outputAlone, runWorld, type World } from "./test-world.ts";

const blockSize = 4;

/** A cache and rows whose tokens count as computed when a test says so. */
class Books {
  readonly table = new SequenceTable(8, blockSize);
  readonly pool: BlockPool;
  readonly host: HostTier;
  readonly counters = new EngineCounters();
  readonly kv: KvManager;
  #nextHandle = 0;

  constructor(numBlocks: number, numHostBlocks = 0, costs = { token: 1, block: 2.5 }) {
    this.pool = new BlockPool(numBlocks);
    this.host = new HostTier(numHostBlocks, blockSize);
    const { table, counters } = this;
    const index = new PrefixIndex(numBlocks, blockSize);
    this.kv = new KvManager({
      table,
      pool: this.pool,
      prefixes: new PrefixCache({ table, index, counters, isSharing: true }),
      host: this.host,
      costs: {
        recompute: (numTokens) => numTokens * costs.token,
        swap: (numSwapped) => numSwapped * costs.block,
      },
      counters,
    });
  }

  get numFreeHostBlocks(): number {
    this.host.check();
    return this.host.rows().reduce((free, row) => free - this.host.numBlocks(row), this.host.capacity);
  }

  /** What preempted sequences lost so far. */
  get lost(): { readonly numSwappedBlocks: number; readonly numRecomputedTokens: number } {
    const { numSwappedBlocks, numRecomputedTokens } = this.counters.read();
    return { numSwappedBlocks, numRecomputedTokens };
  }

  /** Opens a row and gives it blocks, or returns −1. */
  open(tokens: readonly number[]): number {
    const row = this.table.open(this.#nextHandle, sequenceKinds.generate, tokens);
    this.#nextHandle += 1;
    this.kv.admit(row, {});
    expect(this.kv.tryPlace(row, 0)).toBe(true);
    return row;
  }

  compute(row: number): void {
    this.kv.moves.clear();
    this.table.numComputed[row] = this.table.numTokens[row]!;
    this.kv.prefixes.publish(row);
  }

  /** Opens a row, computes all of it and ends it. Returns how many of its tokens were found. */
  serve(tokens: readonly number[]): number {
    const row = this.open(tokens);
    const numFound = this.table.numComputed[row]!;
    this.compute(row);
    this.close(row);
    return numFound;
  }

  close(row: number): void {
    this.kv.release(row);
    this.table.close(row);
    this.kv.check();
  }
}

const text = (length: number, first: number): number[] => Array.from({ length }, (_, at) => first + at);

describe("prefix hits", () => {
  test("reach to the token, by a copy of the part of a block that is alike", () => {
    const books = new Books(8);
    expect(books.serve(text(11, 0))).toBe(0);
    const row = books.open([...text(6, 0), 90, 91, 92]);
    expect(books.table.numComputed[row]).toBe(6);
    const { moves, prefixes } = books.kv;
    expect([moves.count, moves.numTokens[0], moves.targets[0]]).toEqual([
      1,
      2,
      books.table.blockTable(row)[1],
    ]);
    expect(prefixes.hitEnds[row]).toBe(hitEnds.diverged);
    expect(books.serve(text(11, 0))).toBe(10);
    expect(books.serve(text(5, 40))).toBe(0);
  });

  /** How much of a text is found after these were served, one after the other, in 8 blocks. */
  const foundAfter = (served: readonly number[][], asked: number[]): number => {
    const books = new Books(8);
    for (const tokens of served) books.serve(tokens);
    return books.serve(asked);
  };
  const [a, b] = [text(12, 0), text(12, 20)];

  test("are lost from the tail, of the text that was used longest ago", () => {
    // Two blocks were never used; two more come from the older text.
    const served = [a, b, text(16, 40)];
    expect([foundAfter(served, a), foundAfter(served, b)]).toEqual([4, 11]);
  });

  test("keep what was hit last, the block of which a part was copied too", () => {
    const served = [a, b, a, text(16, 40)];
    expect([foundAfter(served, a), foundAfter(served, b)]).toEqual([11, 4]);
  });

  test("end with a reset, which leaves running sequences what they have", () => {
    const books = new Books(8);
    const running = books.open(text(9, 0));
    books.compute(running);
    books.serve(text(8, 20));
    books.kv.reset();
    books.kv.check();
    expect(books.serve(text(8, 20))).toBe(0);
    expect(books.table.numComputed[running]).toBe(9);
    books.close(running);
    // The full blocks of the one that ran are not known any more, only what it holds beyond.
    expect(books.serve(text(9, 0))).toBe(0);
  });
});

describe("preemption", () => {
  test("weighs swapping against computing again for each victim, by what its tail holds", () => {
    const books = new Books(8, 8);
    const [long, short] = [books.open(text(8, 0)), books.open(text(5, 20))];
    for (const row of [long, short]) books.compute(row);
    expect(books.kv.numFree).toBe(4);
    // Four tokens again cost more than a block out and in; one token costs less.
    books.kv.preempt(long, 5);
    expect(books.lost).toEqual({ numSwappedBlocks: 1, numRecomputedTokens: 0 });
    books.kv.preempt(short, 6);
    expect(books.lost).toEqual({ numSwappedBlocks: 1, numRecomputedTokens: 1 });
    expect([long, short].map((row) => books.table.numComputed[row])).toEqual([8, 4]);
    expect(books.kv.numSwappedRows).toBe(1);
    for (const row of [long, short]) books.close(row);
    books.kv.checkIdle(0, 8);
  });

  test("takes the tail blocks that are needed and no more, and brings a swapped tail back in its place", () => {
    const books = new Books(6, 8);
    const row = books.open(text(22, 0));
    books.compute(row);
    const before = books.table.blockTable(row).slice(0, 6);
    books.kv.preempt(row, 2);
    expect([books.table.numBlocks[row], books.kv.numFree, books.host.numBlocks(row)]).toEqual([4, 2, 2]);
    const { moves } = books.kv;
    expect(Array.from(moves.sources.subarray(0, 2))).toEqual(Array.from(before.subarray(4)));
    const kept = Array.from(moves.targets.subarray(0, 2));
    // More is needed later: what is taken now stands before what is kept already.
    expect(books.kv.reclaim(3, -1)).toBe(true);
    expect([books.table.numBlocks[row], books.host.numBlocks(row)]).toEqual([3, 3]);
    const all = [moves.targets[2]!, ...kept];
    moves.clear();
    expect(books.kv.tryPlace(row, 0)).toBe(true);
    expect(Array.from(moves.sources.subarray(0, 3))).toEqual(all);
    expect(Array.from(moves.targets.subarray(0, 3))).toEqual(
      Array.from(books.table.blockTable(row).subarray(3, 6)),
    );
    expect([books.table.numComputed[row], books.numFreeHostBlocks]).toEqual([22, 8]);
    books.close(row);
  });

  test("computes again what the host tier has no room for", () => {
    const books = new Books(6, 2, { token: 1, block: 0 });
    const row = books.open(text(24, 0));
    books.compute(row);
    books.kv.preempt(row, 2);
    expect([books.numFreeHostBlocks, books.table.numComputed[row]]).toEqual([0, 24]);
    books.kv.reclaim(3, -1);
    // A gap: what was kept behind it is of no use either.
    expect([books.numFreeHostBlocks, books.kv.numSwappedRows, books.table.numComputed[row]]).toEqual([
      2, 0, 12,
    ]);
    expect(books.lost.numRecomputedTokens).toBe(12);
    books.close(row);
  });
});

describe("the check of the books", () => {
  test("finds a block with a holder too many, and one with a holder too few", () => {
    const books = new Books(4);
    const row = books.open(text(4, 0));
    const block = books.table.blockTable(row)[0]!;
    books.pool.retain(block);
    expect(() => books.kv.check()).toThrow(`block ${block} has 1 holders, 2 counted`);
    books.pool.release(block, false);
    books.kv.check();
    books.pool.release(block, false);
    expect(() => books.kv.check()).toThrow(`block ${block} has 1 holders, 0 counted`);
  });
});

describe("the self-check of the prefix cache", () => {
  const asked: Arrival = {
    step: 0,
    prompt: [1, 2, 0, 1, 1, 2, 2, 0, 1, 0, 2],
    maxTokens: 3,
    abortStep: null,
  };
  const short = { ...asked, prompt: [1, 2, 0] };
  const spoilt = (prompt: Arrival, change: Partial<World>): World => ({
    limits: { maxNumSeqs: 2, maxNumBatchedTokens: 16, longPrefillTokenThreshold: 0 },
    blockSize,
    numBlocks: 12,
    numHostBlocks: 0,
    isSharing: true,
    policy: "fcfs",
    victims: "lifo",
    costs: { token: 0, block: 1 },
    numDrafts: 0,
    arrivals: [prompt, { ...prompt, step: 20 }],
    ...change,
  });

  test.each([
    ["full", asked],
    ["partial", short],
  ])("finds a %s block with wrong content, and keeps it out of the answer", (_, prompt) => {
    const checked = runWorld(spoilt(prompt, { isChecking: true, spoilStep: 20 }));
    expect(checked.counters.get("numPrefixMismatches")).toBeGreaterThan(0);
    expect(checked.outputs.get(1)).toEqual(outputAlone(prompt));
    const unspoilt = runWorld(spoilt(prompt, { isChecking: true }));
    expect(unspoilt.counters.get("numPrefixMismatches")).toBe(0);
    // Without the check the same fault goes into the answer.
    const trusted = runWorld(spoilt(prompt, { spoilStep: 20 }));
    expect(trusted.counters.get("prefixCacheHits")).toBeGreaterThan(0);
    expect(trusted.outputs.get(1)).not.toEqual(outputAlone(prompt));
  });
});
