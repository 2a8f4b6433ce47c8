import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ScoreRequest, ScoreResult, Scorer } from "../protocol/engine-client.ts";
import { ScoreMemory } from "./score-memory.ts";

/** Scores that depend on every token up to the scored one; what is asked is kept, and answered when `release` is called. */
class HashScorer implements Scorer {
  readonly asked: ScoreRequest[] = [];
  isHeld = false;
  #held: (() => void)[] = [];

  async score(request: ScoreRequest, signal?: AbortSignal): Promise<ScoreResult> {
    this.asked.push(request);
    if (this.isHeld) await new Promise<void>((resolve) => this.#held.push(resolve));
    signal?.throwIfAborted();
    return { ...hashScores(request), numCachedTokens: request.start - 1 };
  }

  async release(): Promise<void> {
    this.isHeld = false;
    for (const resolve of this.#held.splice(0)) resolve();
    await new Promise((resolve) => setImmediate(resolve));
  }

  get numComputed(): number {
    return this.asked.reduce((count, { tokenIds, start }) => count + tokenIds.length - start, 0);
  }
}

function hashScores({ tokenIds, start, topK }: ScoreRequest): ScoreResult {
  const hashes: number[] = [];
  let hash = 7;
  for (const id of tokenIds) {
    hashes.push(hash);
    hash = (Math.imul(hash, 31) + id) | 0;
  }
  const before = hashes.slice(start);
  const own = Array.from(tokenIds).slice(start);
  const tops = before.flatMap((value) => Array.from({ length: topK }, (_, rank) => value + rank));
  return {
    logprobs: Float32Array.from(before, (value, i) => (value ^ own[i]!) / 1e9),
    argmax: Int32Array.from(before),
    topIds: Int32Array.from(tops),
    topLogprobs: Float32Array.from(tops, (value) => -value / 3),
  };
}

const ids = (count: number, first = 0): number[] => Array.from({ length: count }, (_, i) => first + i);
const ask = (tokenIds: readonly number[], topK = 1): ScoreRequest => ({ tokenIds, start: 1, topK });
const scoresOf = ({ numCachedTokens: _count, ...scores }: ScoreResult): object => scores;

describe("remembered scores", () => {
  it("are those of the scorer, whatever came before and at the same time", async () => {
    const prompt = fc.array(fc.integer({ min: 0, max: 1 }), { minLength: 2, maxLength: 40 });
    const request = fc.record({ tokenIds: prompt, topK: fc.integer({ min: 0, max: 2 }) });
    const waves = fc.array(fc.array(request, { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(waves, fc.constantFrom(900, 1 << 20), async (rounds, maxBytes) => {
        const scorer = new HashScorer();
        const memory = new ScoreMemory(scorer, { maxBytes });
        for (const wave of rounds) {
          scorer.isHeld = true;
          const made = Promise.all(wave.map(({ tokenIds, topK }) => memory.score(ask(tokenIds, topK))));
          await new Promise((resolve) => setImmediate(resolve));
          await scorer.release();
          for (const [i, result] of (await made).entries()) {
            const { tokenIds, topK } = wave[i]!;
            expect(scoresOf(result)).toEqual(hashScores(ask(tokenIds, topK)));
          }
        }
      }),
    );
  });

  it("begin where a prompt parts from an earlier one, and say how much was known", async () => {
    const scorer = new HashScorer();
    const memory = new ScoreMemory(scorer);
    await memory.score(ask(ids(40)));
    const other = await memory.score(ask([...ids(30), ...ids(10, 500)]));
    expect(scorer.asked.map(({ start }) => start)).toEqual([1, 30]);
    expect(other.numCachedTokens).toBe(29);
    const again = await memory.score(ask([...ids(30), ...ids(10, 500)]));
    expect([scorer.asked.length, again.numCachedTokens]).toEqual([2, 40]);
  });

  it("of a question's answers that come together compute the question once", async () => {
    const scorer = new HashScorer();
    scorer.isHeld = true;
    const memory = new ScoreMemory(scorer);
    const made = ["a", "b", "c", "d"].map((_, i) => memory.score(ask([...ids(50), 900 + i, 901 + i])));
    await new Promise((resolve) => setImmediate(resolve));
    expect(scorer.asked).toHaveLength(1);
    await scorer.release();
    await Promise.all(made);
    expect(scorer.numComputed).toBe(51 + 3 * 2);
  });

  it("are not waited for where that would save less than half", async () => {
    const scorer = new HashScorer();
    scorer.isHeld = true;
    const memory = new ScoreMemory(scorer);
    const made = [0, 1].map((i) => memory.score(ask([...ids(20), ...ids(30, 1000 * (i + 1))])));
    await new Promise((resolve) => setImmediate(resolve));
    expect(scorer.asked).toHaveLength(2);
    await scorer.release();
    await Promise.all(made);
  });

  it.each([
    ["salt", { cacheSalt: "a" }, { cacheSalt: "b" }],
    ["tenant", { tenant: "a" }, { tenant: "b" }],
    ["priority", { priority: 0 }, { priority: 1 }],
  ])("are not shared between prompts of different %s", async (_what, first, second) => {
    const scorer = new HashScorer();
    const memory = new ScoreMemory(scorer);
    for (const scheduling of [first, second, first]) await memory.score({ ...ask(ids(20)), scheduling });
    expect(scorer.asked.map(({ start }) => start)).toEqual([1, 1]);
  });

  it("go on without one that failed, and leave one that is waited for when the signal says so", async () => {
    const scorer = new HashScorer();
    scorer.isHeld = true;
    const memory = new ScoreMemory(scorer);
    const [failing, leaving] = [new AbortController(), new AbortController()];
    const first = memory.score(ask(ids(20)), failing.signal);
    const second = memory.score(ask(ids(20)));
    const third = memory.score(ask(ids(20)), leaving.signal);
    leaving.abort(new Error("gone"));
    await expect(third).rejects.toThrow("gone");
    failing.abort(new Error("stopped"));
    await Promise.all([scorer.release(), expect(first).rejects.toThrow("stopped")]);
    expect(scoresOf(await second)).toEqual(hashScores(ask(ids(20))));
  });

  it("are forgotten from the oldest on where they take too much room", async () => {
    const scorer = new HashScorer();
    const memory = new ScoreMemory(scorer, { maxBytes: 20 * 20 * 2 });
    for (const first of [0, 100, 200, 0, 200]) await memory.score(ask(ids(20, first)));
    expect(scorer.asked).toHaveLength(4);
  });
});
