import { expect, test } from "vitest";
import { silentProgress } from "../../base/progress.ts";
import { openCheckpoint } from "../../formats/open-checkpoint.ts";
import { defaultEngineOptions } from "../engine-options.ts";
import { type ModelPlanInput, planModelMemory } from "./model-memory.ts";
import { doubtsOf, planSpeed, type TimeSteps } from "./model-speed.ts";

const modelPath = new URL("../../../models/pebble/model", import.meta.url).pathname;
const mebi = 1024 ** 2;

function inputOf(changes: Partial<ModelPlanInput> = {}): ModelPlanInput {
  return {
    options: {
      ...defaultEngineOptions(modelPath),
      maxModelLen: 512,
      kvCacheMemoryBytes: 8 * mebi,
      maxNumSeqs: 16,
    },
    checkpoint: openCheckpoint(modelPath),
    draft: null,
    freeBytes: 1024 * mebi,
    inputTokens: 100,
    outputTokens: 11,
    concurrencies: [1, 64],
    contextTokens: null,
    ...changes,
  };
}

/** Ten milliseconds whatever the step. */
const steady: TimeSteps = (_model, steps) => steps.map(() => ({ seconds: 0.01, spread: 0.1, numSamples: 3 }));

test("the model's own precision is timed once for the table, and once more for the pace", () => {
  const input = inputOf();
  const memory = planModelMemory(input);
  const timed: (string | undefined)[] = [];
  const time: TimeSteps = (model, steps, limits) => {
    timed.push(memory.precisions.find(({ planned }) => planned.linears === model.linears)?.name);
    return steady(model, steps, limits);
  };
  const { precisions, paceDrift } = planSpeed(input, memory, time, silentProgress);
  expect(timed).toEqual(["bf16", "q4_0", "q8_0", "w8a8", "f32", "bf16"]);
  expect(precisions.map(({ name, isNow }) => (isNow ? `${name}, now` : name))).toEqual([
    "f32",
    "bf16, now",
    "w8a8",
    "q8_0",
    "q4_0",
  ]);
  // As fast and larger: nobody wants that.
  expect(precisions[0]!.command).toBeNull();
  expect(precisions[4]!.command).toMatch(/^millrace convert/);
  expect(paceDrift).toBe(0);
  input.checkpoint.close();
});

test("what does not run at once waits: in flight is cut to --max-num-seqs and to what the cache holds", () => {
  for (const [maxNumSeqs, kvCacheMebi, numRunning, limit] of [
    [16, 8, 16, "--max-num-seqs 16"],
    [128, 2, 8, "the cache holds 32 blocks"],
  ] as const) {
    const before = inputOf();
    const options = { ...before.options, maxNumSeqs, kvCacheMemoryBytes: kvCacheMebi * mebi };
    const input = { ...before, options };
    const memory = planModelMemory(input);
    expect(memory.kvNeeds.at(-1)).toMatchObject({ numRunning, limit });
    const { loads } = planSpeed(input, memory, steady, silentProgress);
    expect(loads.map((load) => load.numRunning)).toEqual([1, numRunning]);
    before.checkpoint.close();
  }
});

test("without room for steps nothing is said of speed, but why", () => {
  const input = inputOf();
  const { loads, refusal, precisions } = planSpeed(input, planModelMemory(input), () => null, silentProgress);
  expect(loads).toEqual([]);
  expect(refusal).toMatch(/half of the free memory/);
  expect(precisions).toHaveLength(5);
  input.checkpoint.close();
});

test("figures that another process spoilt are doubted", () => {
  const input = inputOf({ concurrencies: [1, 8] });
  const memory = planModelMemory(input);
  const { loads } = planSpeed(input, memory, steady, silentProgress);
  const quiet = { paceDrift: null, waitingShare: null };
  const [few, many] = [loads[0]!, loads[1]!];
  expect(doubtsOf([few, many], { paceDrift: 0.1, waitingShare: 0.05 })).toEqual([]);
  expect(doubtsOf([{ ...few, spread: 0.3 }, many], quiet)).toEqual(["equal steps differed by 30 %"]);
  expect(doubtsOf([{ ...few, spread: null }, many], quiet)).toEqual([
    "there was no time to repeat each step",
  ]);
  expect(doubtsOf([{ ...few, itlMs: 2 * many.itlMs }, many], quiet)).toEqual([
    "steps of 1 in flight took longer than those of 8",
  ]);
  expect(doubtsOf([few, many], { paceDrift: -0.2, waitingShare: 0.4 })).toEqual([
    "the same steps took 20 % shorter in the end",
    "others had the processor for 40 % of the time",
  ]);
  input.checkpoint.close();
});
