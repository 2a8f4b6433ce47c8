import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type PrefixExtras, PrefixIndex } from "./prefix-index.ts";

const index = new PrefixIndex(4, 2);
// Few characters, among them those that a plain joining of tags and values would trip over.
const texts = fc.string({ unit: fc.constantFrom("a", "b", '"', ",", ":", "\\", "\0"), maxLength: 4 });

test("equal bytes under different tags never give one key: a salt is no adapter", () => {
  fc.assert(
    fc.property(texts, texts, (value, tag) => {
      const salted = index.rootKey({ cacheSalt: value });
      for (const other of ["adapter", "request", `x${tag}`]) {
        expect(index.rootKey({ [other]: value })).not.toBe(salted);
      }
    }),
  );
});

test("keys are equal where all tags and values are, in whatever order they come", () => {
  const extras = fc.dictionary(texts, texts, { maxKeys: 3 });
  fc.assert(
    fc.property(extras, extras, (a, b) => {
      expect(index.rootKey(a) === index.rootKey(b)).toBe(isDeepStrictEqual({ ...a }, { ...b }));
      expect(index.rootKey(Object.fromEntries(Object.entries(a).toReversed()))).toBe(index.rootKey(a));
    }),
    { numRuns: 1000 },
  );
});

test("what is entered under one root is not found under another", () => {
  const ids = Int32Array.of(1, 2);
  const find = (extras: Record<string, string>): number =>
    index.find(index.childKey(index.rootKey(extras), ids, 0), ids, 0);
  const root = index.rootKey({ cacheSalt: "blue" });
  index.addFull(3, root, index.childKey(root, ids, 0), ids, 0);
  expect(find({ cacheSalt: "blue" })).toBe(3);
  for (const other of [{}, { adapter: "blue" }, { cacheSalt: "blue", adapter: "blue" }]) {
    expect(find(other)).toBe(-1);
  }
});

const blockSize = 4;
const numBlocks = 10;
const salts = ["", "blue"];

/** What the index is: which text, from its beginning, each block ends. Everything else is looked up by comparing. */
interface Known {
  readonly salt: string;
  readonly text: readonly number[];
}

/** The longest common beginning. */
function shared(a: readonly number[], b: readonly number[]): number {
  let length = 0;
  while (length < Math.min(a.length, b.length) && a[length] === b[length]) length += 1;
  return length;
}

/** The index beside the plain rule. */
class Pair {
  readonly index = new PrefixIndex(numBlocks, blockSize);
  readonly known = new Map<number, Known>();

  /** Key of the text's first `count` full blocks. */
  key(salt: string, text: readonly number[], count: number): string {
    const extras: PrefixExtras = salt === "" ? {} : { cacheSalt: salt };
    let key = this.index.rootKey(extras);
    for (let block = 0; block < count; block += 1)
      key = this.index.childKey(key, Int32Array.from(text), block * blockSize);
    return key;
  }

  /** Enters the text's last block, which holds 1 … blockSize tokens. */
  add(block: number, salt: string, text: readonly number[]): void {
    const full = Math.ceil(text.length / blockSize) - 1;
    const start = full * blockSize;
    const ids = Int32Array.from(text);
    const parent = this.key(salt, text, full);
    if (text.length % blockSize === 0) {
      const twin = this.#twin(salt, text);
      this.index.addFull(block, parent, this.key(salt, text, full + 1), ids, start);
      if (twin === -1) this.known.set(block, { salt, text });
    } else {
      this.index.addPartial(block, parent, ids, start, text.length - start);
      this.known.set(block, { salt, text });
    }
  }

  remove(block: number): void {
    this.index.remove(block);
    this.known.delete(block);
  }

  /** Looks a text's last block up in every way, and compares with the rule. */
  checkFinds(salt: string, text: readonly number[]): void {
    const full = Math.ceil(text.length / blockSize) - 1;
    const start = full * blockSize;
    const ids = Int32Array.from(text);
    const parent = this.key(salt, text, full);
    if (text.length % blockSize === 0)
      assert.equal(this.index.find(this.key(salt, text, full + 1), ids, start), this.#twin(salt, text));
    const matches = [...this.known.entries()]
      .filter(([, known]) => this.#isChild(known, salt, text.slice(0, start)))
      .map(([block, known]) => ({ block, length: shared(known.text, text) - start }));
    assert.equal(this.index.hasChild(parent), matches.length > 0);
    const longest = Math.max(0, ...matches.map(({ length }) => length));
    const found = this.index.findPartial(parent, ids, start, text.length);
    assert.equal(this.index.matchedTokens, longest);
    const best = matches.filter(({ length }) => length === longest).map(({ block }) => block);
    assert(longest === 0 ? found === -1 : best.includes(found));
  }

  #twin(salt: string, text: readonly number[]): number {
    for (const [block, known] of this.known)
      if (
        known.salt === salt &&
        known.text.length === text.length &&
        shared(known.text, text) === text.length
      )
        return block;
    return -1;
  }

  #isChild(known: Known, salt: string, before: readonly number[]): boolean {
    const inBlock = known.text.length - before.length;
    const isNext = inBlock > 0 && inBlock <= blockSize;
    return known.salt === salt && isNext && shared(known.text, before) === before.length;
  }
}

test("finds what a plain list of known texts has, after any history", () => {
  const text = fc.array(fc.nat(1), { minLength: 1, maxLength: 3 * blockSize });
  const operation = fc.record({
    kind: fc.constantFrom("add", "add", "add", "remove"),
    block: fc.nat(numBlocks - 1),
    salt: fc.constantFrom(...salts),
    text,
  });
  fc.assert(
    fc.property(
      fc.array(operation, { maxLength: 40 }),
      fc.array(text, { maxLength: 4 }),
      (history, asked) => {
        const pair = new Pair();
        for (const { kind, block, salt, text: added } of history) {
          if (kind === "add") pair.add(block, salt, added);
          else pair.remove(block);
          pair.index.check();
          for (const each of [added, ...asked]) for (const other of salts) pair.checkFinds(other, each);
          for (let each = 0; each < numBlocks; each += 1) {
            const known = pair.known.get(each);
            const inBlock = known === undefined ? 0 : ((known.text.length - 1) % blockSize) + 1;
            assert.equal(pair.index.numTokens(each), inBlock);
          }
        }
      },
    ),
    { numRuns: 1000 },
  );
});

test("a block whose key is that of other tokens is not found: not even a collision gives wrong text", () => {
  const index = new PrefixIndex(2, blockSize);
  const root = index.rootKey({});
  index.addFull(0, root, "the same key", Int32Array.of(1, 2, 3, 4), 0);
  expect(index.find("the same key", Int32Array.of(1, 2, 3, 4), 0)).toBe(0);
  expect(index.find("the same key", Int32Array.of(1, 2, 3, 5), 0)).toBe(-1);
});
