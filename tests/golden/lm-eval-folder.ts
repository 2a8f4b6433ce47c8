import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect } from "vitest";
import { type EvaluationOptions, evaluateTasks } from "../../src/evaluate/evaluate.ts";
import { writeEvaluation } from "../../src/flow/evaluation-files.ts";
import { createMadeUpModel } from "./made-up-model.ts";

export type Json = Record<string, unknown>;

/** A folder of files that lm-eval 0.4.13 wrote (record-lm-eval-files.py). */
export function recordedFolder(name: string): string {
  return fileURLToPath(new URL(`./recorded/${name}/`, import.meta.url));
}

/**
 * Before the tests of a suite, runs tasks with the model of the recorded runs and writes their files. Gives the folder,
 * which lasts as long as the suite.
 */
export function writtenFiles(
  answers: ReadonlyMap<string, readonly string[]>,
  optionsOf: () => Omit<EvaluationOptions, "model"> | Promise<Omit<EvaluationOptions, "model">>,
): () => string {
  let folder = "";
  beforeAll(async () => {
    folder = mkdtempSync(path.join(tmpdir(), "millrace-files-"));
    const model = createMadeUpModel(answers);
    const options = { modelName: "made-up", bootstrapIterations: 1000, ...(await optionsOf()), model };
    writeEvaluation(folder, await evaluateTasks(options));
  });
  afterAll(() => rmSync(folder, { recursive: true }));
  return () => folder;
}

/** The results of a folder that has one run, or the lines of the samples of a task. */
export function readRun(folder: string, start: string): Json[] {
  const names = readdirSync(folder).filter((name) => name.startsWith(`${start}_2`));
  expect(names, `${start} in ${folder}`).toHaveLength(1);
  const text = readFileSync(path.join(folder, names[0]!), "utf8");
  if (start === "results") return [JSON.parse(text) as Json];
  return text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Json);
}

/** The recorded answers of a task by prompt. */
export function answersOf(folder: string, task: string): Map<string, readonly string[]> {
  const lines = readRun(folder, `samples_${task}`) as {
    readonly arguments: { readonly gen_args_0: { readonly arg_0: string } };
    readonly resps: readonly [readonly string[]];
  }[];
  return new Map(lines.map((line) => [line.arguments.gen_args_0.arg_0, line.resps[0]]));
}

/** Every line of a task's samples, and its keys in their order. */
export function expectEqualSamples(folder: string, recorded: string, task: string): void {
  const [own, wanted] = [folder, recorded].map((place) =>
    // lm-eval writes the probabilities of this one as NumPy prints them, rounded.
    readRun(place, `samples_${task}`).map((line) =>
      "brier_score" in line ? { ...line, brier_score: null } : line,
    ),
  );
  expect(own).toEqual(wanted);
  expect(own!.map((line) => Object.keys(line))).toEqual(wanted!.map((line) => Object.keys(line)));
}

/** Figures of tasks and groups; exp may differ by one unit in the last place. */
export function expectEqualFigures(own: Json, wanted: Json): void {
  expect(Object.keys(own).toSorted()).toEqual(Object.keys(wanted).toSorted());
  for (const [task, row] of Object.entries(wanted as Record<string, Json>)) {
    const figures = (own as Record<string, Json>)[task]!;
    expect(Object.keys(figures)).toEqual(Object.keys(row));
    for (const [key, value] of Object.entries(row)) {
      if (typeof value !== "number" || value === 0) expect(figures[key], `${task} ${key}`).toEqual(value);
      else expect(Number(figures[key]) / value, `${task} ${key}`).toBeCloseTo(1, 13);
    }
  }
}
