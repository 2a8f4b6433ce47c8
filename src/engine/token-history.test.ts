import fc from "fast-check";
import { expect, test } from "vitest";
import { TokenHistory } from "./token-history.ts";

test("holds each token once, in order of first appearance, with how often it was counted", () => {
  const added = fc.array(
    fc.tuple(
      fc
        .constantFrom(0, 1, 7, 64, 128, 49151, 0x7fffffff)
        .chain((id) => fc.nat(40).map((more) => Math.min(0x7fffffff, id + more))),
      fc.nat(1),
    ),
    { maxLength: 400 },
  );
  fc.assert(
    fc.property(added, (tokens) => {
      const history = new TokenHistory();
      const expected = new Map<number, number>();
      for (const [id, times] of tokens) {
        history.add(id, times);
        expected.set(id, (expected.get(id) ?? 0) + times);
      }
      expect(history.size).toBe(expected.size);
      const ids = new Int32Array(history.numCopied + 1);
      const counts = new Int32Array(history.numCopied + 1);
      history.copyInto(ids, counts, 1);
      expect([...ids.subarray(1, history.size + 1)]).toEqual([...expected.keys()]);
      expect([...counts.subarray(1, history.size + 1)]).toEqual([...expected.values()]);
      for (const [id, count] of expected) expect(history.countOf(id)).toBe(count);
      expect(history.countOf(123456)).toBe(0);
    }),
    { numRuns: 100, seed: 1 },
  );
});
