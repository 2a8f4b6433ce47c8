import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { chooseTasks } from "../../src/evaluate/user-tasks/load-tasks.ts";
import {
  answersOf,
  expectEqualFigures,
  expectEqualSamples,
  type Json,
  readRun,
  recordedFolder,
  writtenFiles,
} from "./lm-eval-folder.ts";

const recorded = recordedFolder("lm-eval-user-tasks");
const definition = (name: string): string =>
  fileURLToPath(new URL(`./user-tasks/${name}.yaml`, import.meta.url));

const names =
  "choices letters contexts cloze pages written several mutual voted around binary begun framed".split(" ");

describe("task files in lm-eval's form against lm-eval on the same files", () => {
  const answers = new Map(
    ["own_written", "own_voted", "own_begun"].flatMap((task) => [...answersOf(recorded, task)]),
  );
  const folder = writtenFiles(answers, async () => {
    const { names: tasks, registry } = await chooseTasks(["group", ...names.slice(2)].map(definition));
    expect(tasks).toEqual(["own_group", ...names.slice(2).map((name) => `own_${name}`)]);
    return { tasks, registry };
  });

  it.each(names)(
    "every line of the samples of %s is the same: templates, shots, filters and metrics",
    (task) => expectEqualSamples(folder(), recorded, `own_${task}`),
  );

  it("tasks and their group have the same figures, versions and shots", () => {
    const [[own], [wanted]] = [readRun(folder(), "results"), readRun(recorded, "results")];
    expectEqualFigures(own!["results"] as Json, wanted!["results"] as Json);
    expectEqualFigures(own!["groups"] as Json, wanted!["groups"] as Json);
    for (const key of [
      "group_subtasks",
      "versions",
      "n-shot",
      "higher_is_better",
      "n-samples",
      "task_hashes",
    ])
      expect(own![key], key).toEqual(wanted![key]);
  });
});
