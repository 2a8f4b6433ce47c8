import { expect, it } from "vitest";
import { parseLimits, parseNumFewshot, parseSplits } from "../../src/evaluate/task-settings.ts";
import { compareAccuracy } from "../../src/flow/compare-accuracy.ts";
import { readEvaluation } from "../../src/flow/evaluation-files.ts";
import { describeWithData, testData } from "../test-data.ts";
import {
  answersOf,
  expectEqualFigures,
  expectEqualSamples,
  type Json,
  readRun,
  recordedFolder,
  writtenFiles,
} from "./lm-eval-folder.ts";

const recorded = recordedFolder("lm-eval-files");
const tasks = ["arc_easy", "gsm8k", "gsm8k_cot_llama", "lambada_openai"];
const written = ["gsm8k", "gsm8k_cot_llama"].flatMap((task) => [...answersOf(recorded, task)]);

describeWithData("files against those of lm-eval itself", () => {
  const folder = writtenFiles(new Map(written), () => ({
    tasks,
    limits: parseLimits("3"),
    splits: parseSplits("arc_easy=validation"),
    numFewshot: parseNumFewshot("gsm8k=0"),
    dataDir: testData("data"),
  }));

  it.each(tasks)("every line of the samples of %s is the same", (task) => {
    expectEqualSamples(folder(), recorded, task);
  });

  it("the results have every key, and the same figures, counts, versions, directions and hashes", () => {
    const [[wanted], [own]] = [readRun(recorded, "results"), readRun(folder(), "results")];
    expect(Object.keys(own!)).toEqual(expect.arrayContaining(Object.keys(wanted!)));
    const equal = ["group_subtasks", "versions", "n-shot", "higher_is_better", "n-samples", "task_hashes"];
    for (const key of equal) expect(own![key], key).toEqual(wanted![key]);
    expect(Object.keys(own!["config"] as Json)).toEqual(Object.keys(wanted!["config"] as Json));
    expectEqualFigures(own!["results"] as Json, wanted!["results"] as Json);
  });

  it.each(tasks)("what the definition of %s says beside its templates is the same", (task) => {
    const [own, wanted] = [folder(), recorded].map((place) => {
      const [results] = readRun(place, "results");
      return (results!["configs"] as Record<string, Json>)[task]!;
    });
    const {
      test_split: _split,
      filter_list: filters,
      metadata: _metadata,
      metric_list: metrics,
      ...rest
    } = own!;
    expect(wanted).toMatchObject(rest);
    expect(wanted!["metric_list"]).toMatchObject(metrics as Json[]);
    expect((wanted!["filter_list"] as Json[] | undefined)?.map(({ name }) => ({ name }))).toEqual(filters);
  });

  it("compares a run of lm-eval with one of ours document by document", () => {
    const { accuracy, unpaired } = compareAccuracy(readEvaluation(recorded), readEvaluation(folder()));
    expect(unpaired).toEqual([]);
    expect(accuracy.map(({ task, metric, numDocuments }) => [task, metric, numDocuments])).toEqual([
      ["arc_easy", "acc", 3],
      ["arc_easy", "acc_norm", 3],
      ["gsm8k", "exact_match,strict-match", 3],
      ["gsm8k", "exact_match,flexible-extract", 3],
      ["gsm8k_cot_llama", "exact_match,strict-match", 3],
      ["gsm8k_cot_llama", "exact_match,flexible-extract", 3],
      ["lambada_openai", "perplexity", 3],
      ["lambada_openai", "acc", 3],
    ]);
    for (const row of accuracy) expect(row.compressed).toBe(row.base);
  });
});
