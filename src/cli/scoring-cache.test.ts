import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { defaultEngineOptions } from "../engine/engine-options.ts";
import { planEngine } from "../engine/engine-plan.ts";
import { openModel } from "./model-source.ts";
import { withScoringCache } from "./scoring-cache.ts";

const modelPath = path.resolve("models/pebble/model");
const gib = 1024 ** 3;

describe("the KV cache of a model that only scores", () => {
  const checkpoint = openModel(modelPath);
  afterAll(() => checkpoint.close());
  const options = { ...defaultEngineOptions(modelPath), maxNumSeqs: 100_000 };

  it("is smaller than the default and cuts prompts where that does", () => {
    const fitted = withScoringCache(options, checkpoint, 16 * gib);
    expect(fitted.kvCacheMemoryBytes).toBe(gib / 2);
    const [own, usual] = [fitted, options].map((one) => planEngine(one, checkpoint, null, 16 * gib).kv);
    expect(own!.sizeBytes).toBeLessThan(usual!.sizeBytes);
    expect(own!.maxModelLen).toBe(usual!.maxModelLen);
  });

  it("is the default where that is smaller", () => {
    expect(
      withScoringCache({ ...options, maxNumSeqs: 1 }, checkpoint, 16 * gib).kvCacheMemoryBytes,
    ).toBeNull();
  });

  it("is what was asked for", () => {
    const asked = { ...options, kvCacheMemoryBytes: 2 * gib };
    expect(withScoringCache(asked, checkpoint, 16 * gib)).toBe(asked);
    const filling = { ...options, memoryUtilization: 0.5 };
    expect(withScoringCache(filling, checkpoint, 16 * gib)).toBe(filling);
  });
});
