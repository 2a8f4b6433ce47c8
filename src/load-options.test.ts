import { expect, test } from "vitest";
import { writeRandomModel } from "../tests/random-model.ts";
import { MillraceError } from "./base/errors.ts";
import { engineSettings } from "./config/engine-settings.ts";
import { Engine } from "./embedded-engine.ts";
import { defaultEngineOptions } from "./engine/engine-options.ts";
import { checkLoadOptions, type LoadOptions } from "./load-options.ts";

function problemOf(options: Record<string, unknown>): string {
  try {
    checkLoadOptions(options as LoadOptions);
  } catch (error) {
    if (!(error instanceof MillraceError)) throw error;
    expect(error).toMatchObject({ code: "invalid_option", param: Object.keys(options)[0] });
    return error.message;
  }
  return "none";
}

test("takes every default, and what is left out", () => {
  const { modelPath: _, ...defaults } = defaultEngineOptions("model");
  expect(
    checkLoadOptions({ ...defaults, maxNumSeqs: undefined } as unknown as LoadOptions),
  ).not.toHaveProperty("maxNumSeqs");
  expect(
    checkLoadOptions({ seed: 3, tenantWeights: new Map([["a", 2]]), maxModelLen: "auto" }),
  ).toMatchObject({
    seed: 3,
  });
});

test("refuses each option outside its flag's range, by its name in code", () => {
  expect(problemOf({ maxNumSeqs: 1.5 })).toBe(
    "maxNumSeqs is 1.5; it takes a whole number from 1 to 4096. Change it or leave it out.",
  );
  expect(problemOf({ maxNumSeqs: "16" })).toMatch(
    /^maxNumSeqs is '16'; it takes a whole number from 1 to 4096/,
  );
  expect(problemOf({ memoryUtilization: 5 })).toMatch(/is 5; it takes a number from 0.01 to 1 or null/);
  expect(problemOf({ preemptionVictim: "foo" })).toMatch(/'foo'; it takes one of lifo, fifo, priority, size/);
  expect(problemOf({ maxNumQueuedTokens: -1 })).toMatch(
    /is -1; it takes a whole number of at least 1 or 0\./,
  );
  expect(problemOf({ tenantWeights: { a: 2 } })).toMatch(/\{ a: 2 \}; it takes a Map from names to weights/);
  expect(problemOf({ maxSeqs: 3 })).toMatch(/^There is no option maxSeqs. Engine.load takes .*maxNumSeqs, /);
  const wrong: Record<string, unknown[]> = {
    maxNumSeqs: [0, -1, Number.NaN, null],
    maxNumBatchedTokens: [Number.NaN, 1e9],
    numThreads: [-1, 99999],
    backend: ["foo"],
    isa: ["foo"],
    kvCacheDtype: ["f64"],
    kvCacheMemoryBytes: [Number.NaN, 0, "2GiB"],
    swapSpaceBytes: [-1],
    maxModelLen: [-5, 0, "long"],
    longPrefillTokenThreshold: [-1],
    maxNumQueuedRequests: [0],
    schedulingPolicy: ["foo"],
    seed: [-1, 1.5, 7n],
    tenantWeights: [new Map([["a", 0]])],
    blockSize: [0, 1_000_000],
    numKvBlocks: [0],
    enablePrefixCaching: ["off"],
    speculation: [{}, { numTokens: 1 }, "ngram", { numTokens: 1, draftPath: null, method: "ngram" }],
    tokenizerPath: [5],
  };
  for (const [name, values] of Object.entries(wrong)) {
    for (const value of values)
      expect(problemOf({ [name]: value })).toMatch(new RegExp(`^${name} is .*; it takes`));
  }
});

test("the ranges are those of the command line", () => {
  for (const value of [0, 1, 4096, 4097]) {
    const isTaken = engineSettings.maxNumSeqs.schema.safeParse(value).success;
    expect(problemOf({ maxNumSeqs: value }) === "none").toBe(isTaken);
  }
});

test("what only the model or the other options can tell is refused in the names of the options too", async () => {
  const model = writeRandomModel();
  try {
    const wrong: [LoadOptions, RegExp][] = [
      [{ maxNumSeqs: 64, maxNumBatchedTokens: 8 }, /^maxNumBatchedTokens is 8; .* each of maxNumSeqs \(64\)/],
      [{ maxModelLen: 1e9 }, /^maxModelLen is 1,000,000,000; .* was made for at most/],
      [
        { tenantWeights: new Map([["a", 2]]) },
        /^tenantWeights is given for 1 tenants.*schedulingPolicy fair/,
      ],
      [
        { maxNumQueuedRequests: 10, maxNumQueuedRequestsPerTenant: 100 },
        /PerTenant is 100.*maxNumQueuedRequests \(10\)/,
      ],
      [
        { checkPrefixCache: true, enablePrefixCaching: false },
        /^checkPrefixCache is given.*enablePrefixCaching is off/,
      ],
      [
        { speculation: { numTokens: 99, draftPath: null } },
        /^speculation.numTokens is 99; a step takes 1 to 16/,
      ],
      [{ memoryUtilization: 0.5, kvCacheMemoryBytes: 1e6 }, /^memoryUtilization 0.5 and kvCacheMemoryBytes/],
    ];
    for (const [options, message] of wrong) {
      await expect(Engine.load(model.path, options)).rejects.toMatchObject({
        code: "invalid_option",
        message: expect.stringMatching(message),
      });
    }
  } finally {
    model.remove();
  }
});
