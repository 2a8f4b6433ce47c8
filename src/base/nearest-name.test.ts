import { expect, test } from "vitest";
import { nearestName } from "./nearest-name.ts";

test("the nearest known name is the one of the fewest edits, and none where all are other words", () => {
  const known = ["max-num-seqs", "max-num-batched-tokens", "seed", "stop"];
  expect(nearestName("max-num-seq", known)).toBe("max-num-seqs");
  expect(nearestName("max_num_seqs", known)).toBe("max-num-seqs");
  expect(nearestName("sed", known)).toBe("seed");
  expect(nearestName("steop", known)).toBe("stop");
  expect(nearestName("sotp", known)).toBe("stop");
  expect(nearestName("quantization", known)).toBeUndefined();
  expect(nearestName("", known)).toBeUndefined();
  expect(nearestName("x".repeat(100_000), known)).toBeUndefined();
});
