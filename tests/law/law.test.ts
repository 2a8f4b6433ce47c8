import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { hasTestData, missingDataMark } from "../test-data.ts";
import type { Answer } from "./answer.ts";
import { coveringArray, createRandom, fullProduct, shuffled } from "./covering-array.ts";
import { expectHappened } from "./expect-happened.ts";
import { codeFingerprint, LawJournal } from "./journal.ts";
import {
  describeSetting,
  type LawArithmetic,
  type LawModel,
  lawDimensions,
  pebble,
  smollm2,
} from "./law-settings.ts";
import { answersAlone, differences, runSetting } from "./run-setting.ts";

// The law: same request, same bytes, whatever the batch, the chunks, the cache, preemption, guesses and threads.
// By default settings that hold every pair of values; `npm run law` runs every combination.

const seed = Number(process.env["MILLRACE_LAW_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const journal =
  process.env["MILLRACE_LAW"] === "full"
    ? new LawJournal(process.env["MILLRACE_LAW_JOURNAL"]!, codeFingerprint())
    : null;
const endMs = performance.now() + 60_000 * Number(process.env["MILLRACE_LAW_MINUTES"] ?? Infinity);

/** For machines that do other work meanwhile: nothing here takes a tenth of it on a quiet one. */
const timeLimits = { timeout: 600_000 };

/** What each request gives alone, computed once for each arithmetic that is asked for. */
class AnswersAlone {
  readonly #model: LawModel;
  readonly #answers = new Map<string, Promise<Answer[]>>();

  constructor(model: LawModel) {
    this.#model = model;
  }

  under({ isa, kvDtype, attentionDtype }: LawArithmetic): Promise<Answer[]> {
    const key = `${isa} ${kvDtype} ${attentionDtype}`;
    const answers = this.#answers.get(key) ?? answersAlone(this.#model, { isa, kvDtype, attentionDtype });
    this.#answers.set(key, answers);
    return answers;
  }
}

function lawOf(model: LawModel): void {
  const dimensions = lawDimensions(model);
  // In an order of its own, the same in every process, so that any part of the whole is a fair sample of it.
  const all =
    journal === null ? coveringArray(dimensions, seed) : shuffled(fullProduct(dimensions), createRandom(1));
  const cases = all
    .map((setting, index) => [describeSetting(setting), setting, index] as const)
    .filter(([words]) => journal === null || !journal.has(model.name, words));
  const alone = new AnswersAlone(model);

  beforeAll(() => {
    process.stdout.write(`${model.name}: ${cases.length} settings, MILLRACE_LAW_SEED=${seed}\n`);
  });
  afterAll(() => {
    if (journal !== null) process.stdout.write(`${journal.progress(model.name, all.length)}\n`);
  });

  test.each(dimensions.isa)(
    "on %s the dtypes of KV and attention give answers of their own, so that each is compared with itself",
    timeLimits,
    async (isa) => {
      const texts = new Set<string>();
      const textOf = async (arithmetic: Omit<LawArithmetic, "isa">) =>
        JSON.stringify((await alone.under({ isa, ...arithmetic })).map(({ logprobs }) => logprobs));
      const { kvDtype: kvDtypes, attentionDtype: attentionDtypes } = dimensions;
      for (const kvDtype of kvDtypes)
        for (const attentionDtype of attentionDtypes) texts.add(await textOf({ kvDtype, attentionDtype }));
      // Products in bf16 round what an f32 cache holds to what a bf16 cache holds.
      expect(texts.size).toBe(kvDtypes.length * attentionDtypes.length - 1);
      expect(await textOf({ kvDtype: "bf16", attentionDtype: "bf16" })).toBe(
        await textOf({ kvDtype: "f32", attentionDtype: "bf16" }),
      );
    },
  );

  test.for(cases)("%s", timeLimits, async ([words, setting, offset], { skip }) => {
    const beginMs = performance.now();
    skip(beginMs > endMs, "the time is up");
    const run = await runSetting(model, setting, seed + offset);
    expect(differences(await alone.under(setting), run.answers), `seed ${seed}`).toEqual([]);
    expectHappened(model, setting, run);
    if (journal === null) return;
    const seconds = (performance.now() - beginMs) / 1000;
    journal.add({ model: model.name, setting: words, seed: seed + offset, seconds });
    if (journal.numAdded % 50 === 0) process.stdout.write(`${journal.progress(model.name, all.length)}\n`);
  });
}

describe("same request, same bytes: pebble", () => lawOf(pebble));

describe.skipIf(!hasTestData)(`same request, same bytes: SmolLM2-135M${missingDataMark}`, () =>
  lawOf(smollm2),
);
