import { expect, test, vi } from "vitest";
import { PrefixChains } from "./prefix-chains.ts";
import { PrefixIndex } from "./prefix-index.ts";
import { SequenceTable, sequenceKinds } from "./sequence-table.ts";

const blockSize = 4;
const numBlocks = 50;

test("a row that waits while another computes its prefix looks at each block once, and waits to its end", () => {
  const table = new SequenceTable(2, blockSize);
  const index = new PrefixIndex(numBlocks, blockSize);
  const chains = new PrefixChains(table, index);
  const prompt = Int32Array.from({ length: numBlocks * blockSize + 1 }, (_, place) => place % 7);
  const [leader, follower] = [0, 1].map((handle) => table.open(handle, sequenceKinds.generate, prompt));
  for (const row of [leader!, follower!]) chains.open(row, {});
  expect(chains.mustWait(follower!)).toBe(false);
  chains.announce(leader!);
  const find = vi.spyOn(index, "find");
  for (let block = 0; block < numBlocks; block += 1) {
    expect(chains.mustWait(follower!)).toBe(true);
    expect(chains.mustWait(leader!)).toBe(false);
    const key = chains.keyOf(leader!, block);
    index.addFull(block, chains.keyOf(leader!, block - 1), key, prompt, block * blockSize);
    chains.settle(leader!, key);
  }
  expect(chains.mustWait(follower!)).toBe(false);
  // Of both rows: once in vain and once found, for each block.
  expect(find.mock.calls.length).toBeLessThanOrEqual(4 * numBlocks);
});

test("who was preempted looks again from its beginning", () => {
  const table = new SequenceTable(2, blockSize);
  const index = new PrefixIndex(numBlocks, blockSize);
  const chains = new PrefixChains(table, index);
  const prompt = Int32Array.from({ length: 3 * blockSize + 1 }, (_, place) => place % 7);
  const [first, second] = [0, 1].map((handle) => table.open(handle, sequenceKinds.generate, prompt));
  for (const row of [first!, second!]) chains.open(row, {});
  index.addFull(0, chains.keyOf(first!, -1), chains.keyOf(first!, 0), prompt, 0);
  table.numComputed[first!] = blockSize;
  chains.announce(first!);
  expect(chains.mustWait(second!)).toBe(true);
  chains.withdraw(first!, 0);
  chains.withdraw(second!, 0);
  index.remove(0);
  table.numComputed[first!] = 0;
  chains.announce(first!);
  expect(chains.mustWait(second!)).toBe(true);
});
