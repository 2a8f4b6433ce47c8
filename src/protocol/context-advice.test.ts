import { expect, test } from "vitest";
import { contextAdvice } from "./context-advice.ts";

test("advises a longer context only as far as the model has positions", () => {
  const advise = (numTokens: number, maxModelLen: number): string =>
    contextAdvice("Shorten the prompt", numTokens, { maxModelLen, maxPositions: 8192 });
  expect(advise(3000, 2048)).toBe(
    "Shorten the prompt, or start with --max-model-len 3000 or larger; the model has no more than 8,192 positions.",
  );
  expect(advise(8192, 2048)).toContain("--max-model-len 8192 or larger");
  expect(advise(8193, 2048)).toBe(
    "Shorten the prompt; the model has no more than 8,192 positions, also with a larger --max-model-len.",
  );
  expect(advise(9000, 8192)).toBe("Shorten the prompt; the model has no more than 8,192 positions.");
});
