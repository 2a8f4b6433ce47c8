import { expect, test } from "vitest";
import { startContextEngine } from "../../../tests/context-engine.ts";
import { measureSteps } from "./calibrate.ts";

test("a calibration measures every shape that fits into the engine, and leaves nothing open", async () => {
  const { client, engine } = startContextEngine({ numBlocks: 64, maxNumSeqs: 8, maxNumBatchedTokens: 64 });
  const steps = await measureSteps(engine, 2000);
  const kinds = steps.map(
    ({ shape, isRequest }) => `${shape.numSequences} ${shape.numPrefillTokens} ${isRequest}`,
  );
  // A context of 64 tokens: prompts of 32 decode, alone and together as far as 64 blocks of 4 go; one of 8 comes alone.
  expect(kinds.sort()).toEqual(["1 0 false", "1 7 true", "2 0 false", "3 0 false", "4 0 false"]);
  for (const { shape, timeMs } of steps) {
    expect(timeMs).toBeGreaterThan(0);
    if (shape.numPrefillTokens > 0) continue;
    // Sixteen draws after a prompt of 32.
    expect(shape.numContextTokens / shape.numSequences).toBeGreaterThan(32);
    expect(shape.numContextTokens / shape.numSequences).toBeLessThanOrEqual(32 + 16);
  }
  expect((await client.stats()).numRunning).toBe(0);
  engine.checkInvariants();
  await client.close();
});

test("what the budget does not hold is left out, but never everything", async () => {
  const { client, engine } = startContextEngine({ numBlocks: 64, maxNumSeqs: 8, maxNumBatchedTokens: 64 });
  const steps = await measureSteps(engine, 0);
  expect(steps.some(({ shape }) => shape.numPrefillTokens > 0)).toBe(true);
  expect(steps.some(({ shape }) => shape.numPrefillTokens === 0)).toBe(true);
  await client.close();
});
