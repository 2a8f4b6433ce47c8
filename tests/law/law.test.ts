import { beforeAll, describe, expect, test } from "vitest";
import { hasTestData, missingDataMark } from "../test-data.ts";
import type { Answer } from "./answer.ts";
import { coveringArray, fullProduct } from "./covering-array.ts";
import { expectHappened } from "./expect-happened.ts";
import {
  describeSetting,
  type LawModel,
  type LawSetting,
  lawDimensions,
  pebble,
  smollm2,
} from "./law-settings.ts";
import { answersAlone, differences, runSetting } from "./run-setting.ts";

// The law: same request, same bytes, whatever the batch, the chunks, the cache, preemption, guesses and threads.
// By default settings that hold every pair of values; `npm run law` runs every combination.

const isFull = process.env["MILLRACE_LAW"] === "full";
const seed = Number(process.env["MILLRACE_LAW_SEED"] ?? Math.floor(Math.random() * 2 ** 31));

/** For machines that do other work meanwhile: nothing here takes a tenth of it on a quiet one. */
const timeLimitMs = 600_000;

function lawOf(model: LawModel): void {
  const dimensions = lawDimensions(model);
  const settings = isFull ? fullProduct(dimensions) : coveringArray(dimensions, seed);
  const alone = new Map<LawSetting["kvDtype"], Answer[]>();

  beforeAll(async () => {
    process.stdout.write(`${model.name}: ${settings.length} settings, MILLRACE_LAW_SEED=${seed}\n`);
    for (const kvDtype of dimensions.kvDtype) alone.set(kvDtype, await answersAlone(model, kvDtype));
  }, timeLimitMs);

  test("the KV dtypes give answers of their own, so that each is compared with itself", () => {
    const texts = [...alone.values()].map((answers) => JSON.stringify(answers.map((a) => a.logprobs)));
    expect(new Set(texts).size).toBe(dimensions.kvDtype.length);
  });

  test.each(settings.map((setting, index) => [describeSetting(setting), setting, index] as const))(
    "%s",
    async (_, setting, index) => {
      const run = await runSetting(model, setting, seed + index);
      expect(differences(alone.get(setting.kvDtype)!, run.answers), `seed ${seed}`).toEqual([]);
      expectHappened(model, setting, run);
    },
    timeLimitMs,
  );
}

describe("same request, same bytes: pebble", () => lawOf(pebble));

describe.skipIf(!hasTestData)(`same request, same bytes: SmolLM2-135M${missingDataMark}`, () =>
  lawOf(smollm2),
);
