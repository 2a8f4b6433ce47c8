import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { defaultEngineOptions, type EngineOptions } from "../../src/engine/engine-options.ts";
import { planEngine } from "../../src/engine/engine-plan.ts";
import { loadEngine } from "../../src/engine/load-engine.ts";
import { openDraft } from "../../src/engine/speculation/load-speculation.ts";
import { openCheckpoint } from "../../src/formats/open-checkpoint.ts";
import { planModel } from "../../src/model/plan-model.ts";
import { repositoryPath } from "../test-data.ts";

const modelPath = repositoryPath("models", "pebble", "model");
const draftPath = repositoryPath("models", "pebble", "draft");
const options: EngineOptions = {
  ...defaultEngineOptions(modelPath),
  maxNumSeqs: 4,
  maxModelLen: 256,
  speculation: { numTokens: 4, draftPath },
};
const gib = 1024 ** 3;

const folder = mkdtempSync(path.join(os.tmpdir(), "draft-model-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A copy of the draft model with another tokenizer.json. */
function draftWith(name: string, change: (tokenizer: TokenizerFile) => void): string {
  const copy = path.join(folder, name);
  cpSync(draftPath, copy, { recursive: true });
  const file = path.join(copy, "tokenizer.json");
  const tokenizer = JSON.parse(readFileSync(file, "utf8")) as TokenizerFile;
  change(tokenizer);
  writeFileSync(file, JSON.stringify(tokenizer));
  return copy;
}

interface TokenizerFile {
  readonly model: { readonly vocab: Record<string, number> };
}

describe("a draft model's vocabulary", () => {
  test("is refused where two tokens have changed places, before anything is loaded", async () => {
    const swapped = draftWith("swapped", ({ model: { vocab } }) => {
      const [a, b] = Object.keys(vocab).slice(300, 302) as [string, string];
      [vocab[a], vocab[b]] = [vocab[b]!, vocab[a]!];
    });
    const asked = { ...options, speculation: { numTokens: 4, draftPath: swapped } };
    await expect(loadEngine(asked)).rejects.toMatchObject({
      code: "invalid_option",
      param: "--spec-model",
      message: expect.stringMatching(
        /has another vocabulary \(2048 tokens\) than .* \(2048\).*--spec-method ngram/,
      ),
    });
  });

  test("may be written in another order", () => {
    const reordered = draftWith("reordered", ({ model }) => {
      const entries = Object.entries(model.vocab).toReversed();
      Object.assign(model, { vocab: Object.fromEntries(entries) });
    });
    const target = openCheckpoint(modelPath);
    openDraft({ ...options, speculation: { numTokens: 4, draftPath: reordered } }, target)!.close();
    target.close();
  });
});

test("the plan of memory counts what the draft model takes", async () => {
  const checkpoint = openCheckpoint(modelPath);
  const draft = openDraft(options, checkpoint)!;
  const plan = planEngine(options, checkpoint, draft, 4 * gib);
  const alone = planEngine({ ...options, speculation: null }, checkpoint, null, 4 * gib);
  const { ops } = planModel(draft, options);
  const draftBytes = ops.weightBytes + plan.kv.maxModelLen * ops.rotationBytesPerPosition;
  draft.close();
  checkpoint.close();
  const engine = await loadEngine(options);
  const { memory, numTotalBlocks } = engine.info;
  await engine.close();
  const aloneEngine = await loadEngine({ ...options, speculation: null });
  const { memory: aloneMemory } = aloneEngine.info;
  await aloneEngine.close();
  expect(numTotalBlocks).toBe(plan.kv.numBlocks);
  const slack = 64 * 1024;
  expect(Math.abs(memory.kvCache - plan.kv.sizeBytes - plan.kv.draftBytes)).toBeLessThan(slack);
  expect(plan.kv.draftBytes).toBeGreaterThan(0.2 * plan.kv.sizeBytes);
  const weightBytes = memory.weights - aloneMemory.weights;
  expect(weightBytes).toBe(draftBytes);
  const other = plan.totalBytes - plan.kv.sizeBytes - plan.kv.draftBytes - draftBytes;
  expect(other).toBeGreaterThanOrEqual(alone.totalBytes - alone.kv.sizeBytes);
});

test("more guesses than a step takes are refused", async () => {
  for (const numTokens of [0, 17, 1.5]) {
    const asked = { ...options, speculation: { numTokens, draftPath: null } };
    await expect(loadEngine(asked)).rejects.toMatchObject({ code: "invalid_option", param: "--spec-tokens" });
  }
});
