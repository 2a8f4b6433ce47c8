import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { evaluateTasks } from "../../src/evaluate/evaluate.ts";
import { chooseTasks } from "../../src/evaluate/user-tasks/load-tasks.ts";
import { writeEvaluation } from "../../src/flow/evaluation-files.ts";
import {
  answersOf,
  expectEqualFigures,
  expectEqualSamples,
  type Json,
  readRun,
  recordedFolder,
} from "./lm-eval-folder.ts";
import { createMadeUpModel } from "./made-up-model.ts";

const recorded = recordedFolder("lm-eval-user-tasks");
const definition = (name: string): string =>
  fileURLToPath(new URL(`./user-tasks/${name}.yaml`, import.meta.url));

let folder = "";

describe("task files in lm-eval's form against lm-eval on the same files", () => {
  beforeAll(async () => {
    folder = mkdtempSync(path.join(tmpdir(), "millrace-own-"));
    const files = ["group", "contexts", "cloze", "pages", "written"].map(definition);
    const { names, registry } = await chooseTasks(files);
    expect(names).toEqual(["own_group", "own_contexts", "own_cloze", "own_pages", "own_written"]);
    const record = await evaluateTasks({
      tasks: names,
      registry,
      model: createMadeUpModel(answersOf(recorded, "own_written")),
      bootstrapIterations: 1000,
    });
    writeEvaluation(folder, record);
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it.each(["choices", "letters", "contexts", "cloze", "pages", "written"])(
    "every line of the samples of %s is the same: templates, shots, filters and metrics",
    (task) => expectEqualSamples(folder, recorded, `own_${task}`),
  );

  it("tasks and their group have the same figures, versions and shots", () => {
    const [[own], [wanted]] = [readRun(folder, "results"), readRun(recorded, "results")];
    expectEqualFigures(own!["results"] as Json, wanted!["results"] as Json);
    expectEqualFigures(own!["groups"] as Json, wanted!["groups"] as Json);
    for (const key of ["group_subtasks", "versions", "n-shot", "higher_is_better", "n-samples"])
      expect(own![key], key).toEqual(wanted![key]);
  });
});
