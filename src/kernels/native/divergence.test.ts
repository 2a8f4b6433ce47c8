import { describe, expect, test } from "vitest";
import type { RowDivergences } from "../../base/row-divergences.ts";
import { loadAddon } from "../addon.ts";
import type { Ops } from "../ops.ts";
import { createReferenceOps } from "../reference/reference-ops.ts";
import { createNativeOps } from "./native-ops.ts";
import { randomFloats, runOnRows } from "./test-batches.ts";

const { addon } = loadAddon();
const isas = addon?.listIsas() ?? [];

interface Rows {
  readonly a: Float32Array;
  readonly b: Float32Array;
  readonly targets: Int32Array;
}

function diverge(ops: Ops, { a, b, targets }: Rows): RowDivergences {
  const count = targets.length;
  const out = {
    kl: new Float64Array(count).fill(-1),
    isSameTop: new Uint8Array(count).fill(7),
    lossA: new Float64Array(count),
    lossB: new Float64Array(count),
  };
  try {
    runOnRows(ops, b, b.length / count, (logits) => {
      ops.diverge(logits, a, targets, out);
      return logits;
    });
  } finally {
    ops.close();
  }
  return out;
}

/** Logits of about ±10 and others a little off, as those of a model and of its compression. */
function similarRows(count: number, vocab: number): Rows {
  const a = randomFloats(count * vocab, 1, 10);
  const shift = randomFloats(count * vocab, 2, 0.1);
  const b = a.map((value, i) => value + shift[i]! + 3);
  return { a, b, targets: Int32Array.from({ length: count }, (_, row) => (row * 37) % vocab) };
}

const makers: readonly (readonly [name: string, make: () => Ops])[] = [
  ["the reference", () => createReferenceOps({ numThreads: 1 })],
  ...isas.map((isa) => [isa, () => createNativeOps(addon!, { isa, numThreads: 2 })] as const),
];

describe.each(makers)("divergences by %s", (_name, make) => {
  test("are those of distributions that are known", () => {
    // p = (1/2, 1/4, 1/4), q = (1/4, 1/2, 1/4): KL = ½ ln 2 − ¼ ln 2. Any constant may be added to logits.
    const a = Float32Array.from([2, 1, 1], (p) => Math.log(p) + 40);
    const b = Float32Array.from([1, 2, 1], (q) => Math.log(q) - 7);
    const { kl, isSameTop, lossA, lossB } = diverge(make(), { a, b, targets: Int32Array.of(1) });
    expect(kl[0]).toBeCloseTo(0.25 * Math.LN2, 5);
    expect(isSameTop[0]).toBe(0);
    expect(lossA[0]).toBeCloseTo(Math.log(4), 5);
    expect(lossB[0]).toBeCloseTo(Math.log(2), 5);
  });

  test("are infinite where B rules out what A does not, and finite the other way round", () => {
    const a = Float32Array.of(0, 0, 0, -Infinity);
    const b = Float32Array.of(0, -Infinity, 0, 0);
    const { kl } = diverge(make(), { a, b, targets: Int32Array.of(0, 0) });
    expect(kl[0]).toBe(Infinity);
    expect(kl[1]).toBeCloseTo(Math.LN2, 12);
  });

  test("are nothing between equal rows, and no number where a logit is none", () => {
    const { a, targets } = similarRows(3, 1003);
    expect([...diverge(make(), { a, b: a.slice(), targets }).kl]).toEqual([0, 0, 0]);
    const b = a.slice();
    b[1500] = Number.NaN;
    const { kl, lossB } = diverge(make(), { a, b, targets });
    expect([kl[0], kl[1], kl[2]]).toEqual([0, Number.NaN, 0]);
    expect(lossB[1]).toBeNaN();
  });

  test("refuse a token that is not in the vocabulary", () => {
    const { a, b } = similarRows(1, 50);
    expect(() => diverge(make(), { a, b, targets: Int32Array.of(50) })).toThrow("outside the vocabulary");
  });
});

describe.skipIf(addon === undefined).each(isas)("divergences on %s", (isa) => {
  test.each([3, 64, 1001, 49_152])("are the reference's over %d logits", (vocab) => {
    const rows = similarRows(9, vocab);
    const own = diverge(createNativeOps(addon!, { isa, numThreads: 2 }), rows);
    const wanted = diverge(createReferenceOps({ numThreads: 1 }), rows);
    expect(own.isSameTop).toEqual(wanted.isSameTop);
    for (const name of ["kl", "lossA", "lossB"] as const)
      for (const [i, value] of own[name].entries())
        expect(Math.abs(value - wanted[name][i]!)).toBeLessThan(1e-13 * vocab ** 0.5);
  });

  test("do not depend on the number of rows or threads", () => {
    const vocab = 1001;
    const { a, b, targets } = similarRows(17, vocab);
    const many = diverge(createNativeOps(addon!, { isa, numThreads: 2 }), { a, b, targets });
    for (const row of [0, 7, 16]) {
      const part = (rows: Float32Array): Float32Array => rows.slice(row * vocab, (row + 1) * vocab);
      const one = { a: part(a), b: part(b), targets: targets.slice(row, row + 1) };
      const alone = diverge(createNativeOps(addon!, { isa, numThreads: 1 }), one);
      expect(alone.kl[0]).toBe(many.kl[row]);
      expect(alone.lossB[0]).toBe(many.lossB[row]);
    }
  });
});

test.skipIf(isas.length < 2)("divergences have the same bits on every instruction set", () => {
  const rows = similarRows(5, 1001);
  const [first, ...others] = isas.map((isa) =>
    diverge(createNativeOps(addon!, { isa, numThreads: 2 }), rows),
  );
  for (const other of others) expect(other).toEqual(first);
});
