import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { bleu } from "../../src/evaluate/metrics/bleu.ts";
import { rouge } from "../../src/evaluate/metrics/rouge.ts";

interface Recorded {
  readonly reference: string;
  readonly answer: string;
  readonly bleu: number;
  readonly rouge: { readonly rouge1: number; readonly rouge2: number; readonly rougeLsum: number };
}

/** Written by sacrebleu and rouge_score (record-text-overlap.py). */
const recorded = JSON.parse(
  readFileSync(new URL("./recorded/text-overlap.json", import.meta.url), "utf8"),
) as Recorded[];

describe("random texts of many scripts", () => {
  it("have sacrebleu's BLEU", () => {
    for (const { reference, answer, bleu: wanted } of recorded)
      expect(bleu(reference, answer), JSON.stringify([reference, answer])).toBeCloseTo(wanted, 9);
  });

  it("have rouge_score's ROUGE", () => {
    for (const { reference, answer, rouge: wanted } of recorded) {
      const own = rouge(reference, answer);
      for (const name of ["rouge1", "rouge2", "rougeLsum"] as const)
        expect(own[name], JSON.stringify([reference, answer, name])).toBeCloseTo(wanted[name], 9);
    }
  });
});
