import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { loadAddon } from "../addon.ts";
import { type KvCache, type KvDtype, type KvMoves, kvMoveKinds, type Ops } from "../ops.ts";
import { createReferenceOps } from "../reference/reference-ops.ts";
import { createNativeOps } from "./native-ops.ts";
import { makeBatch, randomFloats, runOnRows, type TestSequence } from "./test-batches.ts";

const { addon } = loadAddon();
const backends: readonly (readonly [string, () => Ops])[] = [
  ["the reference backend", () => createReferenceOps({ numThreads: 1 })],
  ...(addon?.listIsas() ?? []).map(
    (isa) => [isa, () => createNativeOps(addon!, { isa, numThreads: 2 })] as const,
  ),
];
const dtypes: readonly KvDtype[] = ["f32", "f16", "bf16", "int8"];

const numBlocks = 6;
const numHostBlocks = 4;
const shape = { numHeads: 3, numKvHeads: 3, headDim: 24 } as const;
const cols = (shape.numHeads + 2 * shape.numKvHeads) * shape.headDim;
const numLayers = 2;

/** What each token of each block holds: the number of the row that was written there. */
type Contents = Int32Array[];

interface Setup {
  readonly ops: Ops;
  readonly blockSize: number;
  readonly dtype: KvDtype;
}

const rowOf = (content: number, layer: number): Float32Array => randomFloats(cols, content * 2 + layer, 3);

/** All blocks, one sequence each. */
function blockSequences(blockSize: number): TestSequence[] {
  return Array.from({ length: numBlocks }, (_, block) => ({ start: 0, count: blockSize, blocks: [block] }));
}

/** Makes a cache whose tokens hold `contents`, written as a model writes them. */
function fillCache({ ops, blockSize, dtype }: Setup, contents: Contents): KvCache {
  const { numKvHeads, headDim } = shape;
  const cache = ops.createKvCache({ numLayers, numBlocks, blockSize, numKvHeads, headDim, dtype });
  const angles = randomFloats((blockSize * headDim) / 2, 8, 3);
  const rope = ops.loadRope(angles.map(Math.cos), angles.map(Math.sin), headDim);
  for (let layer = 0; layer < numLayers; layer += 1) {
    const rows = new Float32Array(numBlocks * blockSize * cols);
    for (const [block, tokens] of contents.entries()) {
      for (const [token, content] of tokens.entries()) {
        rows.set(rowOf(content, layer), (block * blockSize + token) * cols);
      }
    }
    const write = (x: Parameters<Ops["ropeAndCache"]>[0]) => {
      ops.ropeAndCache(x, rope, cache, layer, shape);
      return x;
    };
    runOnRows(ops, rows, cols, write, makeBatch(blockSequences(blockSize), blockSize));
  }
  return cache;
}

/** What attention sees of every token of a cache: a query over each prefix of each block, in each layer. */
function observe({ ops, blockSize }: Setup, cache: KvCache): Uint32Array[] {
  const queries = randomFloats(numBlocks * blockSize * cols, 99);
  return Array.from({ length: numLayers }, (_, layer) => {
    const attend = (x: Parameters<Ops["pagedAttention"]>[0]) =>
      ops.pagedAttention(x, cache, layer, { ...shape, scale: 0.2 }, "f32");
    const seen = runOnRows(ops, queries, cols, attend, makeBatch(blockSequences(blockSize), blockSize));
    return new Uint32Array(seen.buffer);
  });
}

type Move = readonly [kind: keyof typeof kvMoveKinds, source: number, target: number, numTokens: number];

/** Arrays longer than needed, as a caller keeps them. */
function listOf(moves: readonly Move[]): KvMoves {
  const padded = [...moves, ["copy", 99, 99, 99] as const];
  return {
    count: moves.length,
    kinds: Uint8Array.from(padded, ([kind]) => kvMoveKinds[kind]),
    sources: Int32Array.from(padded, ([, source]) => source),
    targets: Int32Array.from(padded, ([, , target]) => target),
    numTokens: Int32Array.from(padded, ([, , , numTokens]) => numTokens),
  };
}

function moveContents(cache: Contents, host: Contents, moves: readonly Move[]): void {
  for (const [kind, source, target, numTokens] of moves) {
    const from = (kind === "in" ? host : cache)[source]!;
    const to = (kind === "out" ? host : cache)[target]!;
    to.set(from.slice(0, numTokens));
  }
}

const distinct = (count: number, blockSize: number, first: number): Contents =>
  Array.from({ length: count }, (_, block) =>
    Int32Array.from({ length: blockSize }, (__, token) => first + block * blockSize + token),
  );

const moveFor = (blockSize: number): fc.Arbitrary<Move> =>
  fc
    .constantFrom("copy" as const, "out" as const, "in" as const)
    .chain((kind) =>
      fc.tuple(
        fc.constant(kind),
        fc.nat((kind === "in" ? numHostBlocks : numBlocks) - 1),
        fc.nat((kind === "out" ? numHostBlocks : numBlocks) - 1),
        fc.oneof(fc.constant(blockSize), fc.nat(blockSize)),
      ),
    );

describe.each(backends)("KV moves on %s", (name, create) => {
  describe.each(dtypes)("in %s", (dtype) => {
    test.each([16, 5])("leave every token of a cache as a plain model says, blocks of %i", (blockSize) => {
      const ops = create();
      const setup = { ops, blockSize, dtype };
      const numRuns = name === "the reference backend" ? 3 : 8;
      const lists = fc.array(moveFor(blockSize), { maxLength: 12 });
      try {
        fc.assert(
          fc.property(lists, lists, (first, second) => {
            const contents = distinct(numBlocks, blockSize, 1);
            const cache = fillCache(setup, contents);
            const host = ops.createKvHost(cache, numHostBlocks);
            // Every host block gets contents, then random lists follow in two calls, then the host comes back.
            const fill = Array.from({ length: numHostBlocks }, (_, i): Move => ["out", i, i, blockSize]);
            const hostContents = contents.slice(0, numHostBlocks).map((tokens) => tokens.slice());
            ops.moveKv(cache, host, listOf(fill));
            for (const moves of [first, second]) {
              ops.moveKv(cache, host, listOf(moves));
              moveContents(contents, hostContents, moves);
            }
            expect(observe(setup, cache)).toEqual(observe(setup, fillCache(setup, contents)));
            checkEquality(ops, cache, contents);
            const back = Array.from({ length: numHostBlocks }, (_, i): Move => ["in", i, i, blockSize]);
            ops.moveKv(cache, host, listOf(back));
            moveContents(contents, hostContents, back);
            expect(observe(setup, cache)).toEqual(observe(setup, fillCache(setup, contents)));
          }),
          { numRuns },
        );
      } finally {
        ops.close();
      }
    });
  });

  test("are refused as a whole when one names what is not there", () => {
    const ops = create();
    try {
      const setup = { ops, blockSize: 8, dtype: "f16" } as const;
      const contents = distinct(numBlocks, 8, 1);
      const cache = fillCache(setup, contents);
      const other = ops.createKvHost(fillCache(setup, contents), 1);
      const host = ops.createKvHost(cache, numHostBlocks);
      const good: Move = ["copy", 0, 1, 8];
      const bad: Move[] = [
        ["copy", numBlocks, 0, 8],
        ["copy", 0, -1, 8],
        ["out", 0, numHostBlocks, 8],
        ["in", numHostBlocks, 0, 8],
        ["copy", 0, 1, 9],
        ["copy", 0, 1, -1],
      ];
      const before = observe(setup, cache);
      for (const move of bad) {
        expect(() => ops.moveKv(cache, host, listOf([good, move])), String(move)).toThrow(/a KV move/);
      }
      expect(() => ops.moveKv(cache, null, listOf([good, ["out", 0, 0, 8]]))).toThrow(/not there/);
      expect(() => ops.moveKv(cache, other, listOf([good]))).toThrow(/another cache/);
      expect(() => ops.moveKv(cache, host, { ...listOf([good]), kinds: Uint8Array.of(3) })).toThrow(/kind/);
      expect(() => ops.equalKv(cache, 0, numBlocks, 8)).toThrow(/not there/);
      expect(() => ops.equalKv(cache, 0, 1, 9)).toThrow(/fewer tokens/);
      expect(() => ops.createKvHost(cache, 0)).toThrow(/0 blocks/);
      expect(observe(setup, cache)).toEqual(before);
    } finally {
      ops.close();
    }
  });

  test("are counted in memory, and a host has the size of its blocks", () => {
    const ops = create();
    try {
      const cache = fillCache({ ops, blockSize: 16, dtype: "f16" }, distinct(numBlocks, 16, 1));
      const host = ops.createKvHost(cache, numBlocks);
      expect(host.numBlocks).toBe(numBlocks);
      expect(host.sizeBytes).toBe(cache.sizeBytes);
      expect(ops.memory()).toMatchObject({ kvCache: cache.sizeBytes, kvHost: host.sizeBytes });
      ops.moveKv(cache, null, listOf([]));
    } finally {
      ops.close();
    }
  });
});

/** Equal as far as, and no further than, the model's tokens are the same. */
function checkEquality(ops: Ops, cache: KvCache, contents: Contents): void {
  for (let a = 0; a < numBlocks; a += 1) {
    for (let b = 0; b < numBlocks; b += 1) {
      const differing = contents[a]!.findIndex((content, token) => content !== contents[b]![token]);
      const numEqual = differing === -1 ? cache.blockSize : differing;
      expect(ops.equalKv(cache, a, b, numEqual)).toBe(true);
      if (numEqual < cache.blockSize) expect(ops.equalKv(cache, a, b, numEqual + 1)).toBe(false);
    }
  }
}
