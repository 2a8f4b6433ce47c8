import { describe, expect, test } from "vitest";
import { growthPerRound } from "../heap-growth.ts";

/** Half of it objects, half of it an array buffer. */
function madeOf(bytes: number): unknown {
  return [Array.from({ length: bytes / 2 / 8 }, (_, i) => i + 0.5), new Uint8Array(bytes / 2)];
}

describe("growth per round", () => {
  test("is what every round keeps", async () => {
    const kept: unknown[] = [];
    const growth = await growthPerRound(5, async () => {
      kept.push(madeOf(1e6));
    });
    expect(kept).toHaveLength(6);
    expect(growth / 1e6).toBeGreaterThan(0.9);
    expect(growth / 1e6).toBeLessThan(1.5);
  });

  test("is none of what one round keeps, or of what the next gives back", async () => {
    const kept: unknown[] = [];
    let lent: unknown;
    let numRounds = 0;
    const growth = await growthPerRound(5, async () => {
      numRounds += 1;
      if (numRounds === 2) kept.push(madeOf(4e6));
      lent = numRounds === 3 ? madeOf(4e6) : undefined;
    });
    expect([kept.length, lent]).toEqual([1, undefined]);
    expect(Math.abs(growth) / 1e6).toBeLessThan(0.5);
  });
});
