import { expect, test } from "vitest";
import type { Checkpoint } from "../../formats/checkpoint.ts";
import { listCandidates } from "./ladder.ts";

test("a model that every candidate refuses is refused with the reason", () => {
  const named = () => [{ name: "model.embed_tokens.weight", shape: [32, 32] }];
  const checkpoint = { path: "bare", named } as unknown as Checkpoint;
  const options = { dtype: "auto", tokenizer: null, ignore: [], isCalibrated: false } as const;
  expect(() => listCandidates(checkpoint, { ...options, format: "auto" })).toThrow(
    "bare has no linears to quantise",
  );
});
