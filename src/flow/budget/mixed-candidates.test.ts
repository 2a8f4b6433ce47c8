import { expect, test } from "vitest";
import { pebble } from "../../../tests/e2e/run-cli.ts";
import { openCheckpoint } from "../../formats/open-checkpoint.ts";
import { mixedCandidates } from "./mixed-candidates.ts";

test("allocations that differ by a few thousand bytes have names of their own", () => {
  const checkpoint = openCheckpoint(pebble);
  try {
    const groups = ["q", "o"].map((name) => ({
      modules: [`model.layers.0.self_attn.${name}_proj`],
      options: [
        { type: "Q4_0" as const, sizeBytes: 1000, kl: name === "q" ? 0.2 : 0.1 },
        { type: "Q4_1" as const, sizeBytes: 1100, kl: 0.01 },
      ],
    }));
    const found = mixedCandidates(checkpoint, groups, {
      dtype: "auto",
      tokenizer: null,
      ignore: [],
      isCalibrated: false,
      maxBytes: Infinity,
    });
    expect(found).toHaveLength(3);
    expect(new Set(found.map(({ name }) => name)).size).toBe(3);
    expect(found.at(-1)!.sizeBytes - found[0]!.sizeBytes).toBeLessThan(100_000);
  } finally {
    checkpoint.close();
  }
});
