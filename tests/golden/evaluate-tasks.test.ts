import { createHash } from "node:crypto";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { CodeRunner } from "../../src/evaluate/code/code-runner.ts";
import { type EvaluationOptions, evaluateTasks } from "../../src/evaluate/evaluate.ts";
import type { ChoiceTask } from "../../src/evaluate/task.ts";
import { createTaskRegistry } from "../../src/evaluate/task-registry.ts";
import { parseLimits, parseNumFewshot, parseSplits } from "../../src/evaluate/task-settings.ts";
import { piqa } from "../../src/evaluate/tasks/simple-choices.ts";
import type { EvaluationRecord } from "../../src/records/evaluation.ts";
import { describeWithData, testData } from "../test-data.ts";
import { createMadeUpModel } from "./made-up-model.ts";

interface GoldenSample {
  readonly run: string;
  readonly task: string;
  readonly doc_id: number;
  readonly filter: string;
  readonly doc?: unknown;
  readonly target: unknown;
  readonly arguments: unknown[][];
  readonly resps: unknown[][];
  readonly filtered_resps: unknown[];
  readonly metrics: Record<string, unknown>;
  readonly prompt_hash: string;
}

type Values = Record<string, unknown>;

function readJson(...parts: string[]): Record<string, Record<string, Values>> {
  return JSON.parse(readFileSync(testData("data", "lm-eval-golden", ...parts), "utf8")) as ReturnType<
    typeof readJson
  >;
}

function readLines<T>(name: string): T[] {
  const text = gunzipSync(readFileSync(testData("data", "lm-eval-golden", name))).toString();
  return text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as T);
}

const readRun = (file: string, run: string): GoldenSample[] =>
  readLines<GoldenSample>(`samples-${file}.jsonl.gz`).filter((sample) => sample.run === run);

/** The recorded answers by prompt; a prompt of several filters is asked once. */
function answersOf(samples: readonly GoldenSample[]): Map<string, string[]> {
  const answers = new Map<string, string[]>();
  const seen = new Set<string>();
  for (const {
    task,
    doc_id: id,
    arguments: [first],
    resps,
  } of samples) {
    if (first === undefined || typeof resps[0]?.[0] !== "string" || seen.has(`${task} ${id}`)) continue;
    seen.add(`${task} ${id}`);
    const prompt = String(first[0]);
    answers.set(prompt, [...(answers.get(prompt) ?? []), resps[0][0]]);
  }
  return answers;
}

/** Every sample of a run, and what lm-eval aggregated from them. */
function expectEqualToGolden(record: EvaluationRecord, golden: readonly GoldenSample[]): void {
  const tasks = new Set(golden.map((sample) => sample.task));
  const recorded = readJson("results-samples.json")[golden[0]!.run]!;
  for (const task of tasks) {
    const wanted = golden.filter((sample) => sample.task === task);
    const samples = record.samples[task]!;
    expect(samples.map(keyOf).toSorted()).toEqual(wanted.map(keyOf).toSorted());
    for (const sample of wanted) {
      const own = samples.find((each) => keyOf(each) === keyOf(sample))!;
      expect(own.arguments).toEqual(sample.arguments);
      expect(own.target).toEqual(sample.target);
      expect(own.resps).toEqual(sample.resps);
      expect(own.filtered_resps).toEqual(sample.filtered_resps);
      if (Object.keys(sample.metrics).length > 0) expect(own.metrics).toEqual(sample.metrics);
      expect(own.prompt_hash).toBe(sample.prompt_hash);
    }
    if (recorded[task] !== undefined) expect(record.results[task]).toMatchObject(recorded[task]);
  }
}

/** A group over the tasks of a run, given as a group of these tasks. */
function expectEqualGroup(record: EvaluationRecord, group: string, run: string): void {
  expect(record.groups?.[group]).toMatchObject(readJson("results-samples.json")[run]![group]!);
}

const keyOf = (sample: { readonly doc_id: number; readonly filter: string }): string =>
  `${sample.doc_id} ${sample.filter}`;

let folder = "";
const hellaswagRuns = [
  "hellaswag 0-shot, invented rows",
  "hellaswag 2-shot, invented rows, pool = the same rows",
];

/** The data, with the few-shot pools that the recorded runs had in place of train splits. */
function makeDataFolder(): string {
  const made = mkdtempSync(path.join(tmpdir(), "millrace-"));
  for (const name of [
    "piqa",
    "mmlu",
    "gsm8k",
    "truthfulqa",
    "lambada",
    "wikitext-2-raw",
    "bbh",
    "math500",
    "humaneval",
    "mbpp",
  ]) {
    symlinkSync(testData("data", name), path.join(made, name));
  }
  mkdirSync(path.join(made, "arc"));
  for (const set of ["Easy", "Challenge"]) {
    const validation = testData("data", "arc", `ARC-${set}-validation.jsonl`);
    for (const split of ["validation", "train"])
      cpSync(validation, path.join(made, "arc", `ARC-${set}-${split}.jsonl`));
  }
  mkdirSync(path.join(made, "hellaswag"));
  const rows = readRun("hellaswag", hellaswagRuns[0]!).map(({ doc }) => {
    const { activity_label, ctx_a, ctx_b, endings, label } = doc as Values;
    return JSON.stringify({ activity_label, ctx_a, ctx_b, endings, label });
  });
  for (const split of ["validation", "train"])
    writeFileSync(path.join(made, "hellaswag", `${split}.jsonl`), rows.join("\n"));
  return made;
}

interface Run {
  readonly file: string;
  readonly run: string;
  readonly options: Partial<EvaluationOptions>;
}

const chat = {
  isChat: true,
  hasShotTurns: true,
  systemInstruction: "You are a careful assistant.",
} as const;

/** No program was run for the records. */
const neverRun: CodeRunner = { run: () => Promise.resolve({ hasPassed: false, detail: "not run" }) };

const runs: readonly Run[] = [
  { file: "arc_easy", run: "arc 0-shot", options: { splits: parseSplits("validation") } },
  { file: "arc_challenge", run: "arc 0-shot", options: { splits: parseSplits("validation") } },
  {
    file: "arc_challenge",
    run: "arc_challenge 3-shot, default sampler, few-shot pool = the validation file",
    options: { splits: parseSplits("validation"), numFewshot: parseNumFewshot("3") },
  },
  { file: "hellaswag", run: hellaswagRuns[0]!, options: {} },
  { file: "hellaswag", run: hellaswagRuns[1]!, options: { numFewshot: parseNumFewshot("2") } },
  { file: "piqa", run: "piqa 0-shot", options: {} },
  { file: "truthfulqa_mc1", run: "truthfulqa 0-shot", options: {} },
  { file: "lambada_openai", run: "lambada_openai 0-shot", options: {} },
  { file: "wikitext", run: "wikitext", options: {} },
  { file: "mmlu", run: "mmlu 5-shot", options: { numFewshot: parseNumFewshot("5") } },
  { file: "mmlu", run: "mmlu 0-shot", options: {} },
  {
    file: "mmlu",
    run: "mmlu 2-shot chat, multiturn, system instruction",
    options: { numFewshot: parseNumFewshot("2"), prompts: chat },
  },
  { file: "mmlu", run: "mmlu generative 2-shot", options: { numFewshot: parseNumFewshot("2") } },
  { file: "gsm8k", run: "gsm8k 5-shot", options: {} },
  { file: "gsm8k_cot", run: "gsm8k_cot 8-shot", options: {} },
  { file: "hendrycks_math500", run: "hendrycks_math500 0-shot", options: {} },
  { file: "humaneval", run: "humaneval", options: { codeRunner: neverRun } },
  { file: "mbpp", run: "mbpp 3-shot", options: { codeRunner: neverRun } },
  { file: "bbh", run: "bbh cot_fewshot", options: {} },
  { file: "bbh", run: "bbh cot_zeroshot (25 of 27)", options: {} },
];

describeWithData("tasks against lm-eval's own records", () => {
  beforeAll(() => {
    folder = makeDataFolder();
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it.each(runs)("$run: prompts, filters, scores and errors of $file", async ({ file, run, options }) => {
    const golden = readRun(file, run);
    const tasks = [...new Set(golden.map((sample) => sample.task))];
    const counts = tasks.map((task) => {
      const ids = golden.filter((sample) => sample.task === task).map((sample) => sample.doc_id);
      return `${task}=${Math.max(...ids) + 1}`;
    });
    const record = await evaluateTasks({
      tasks,
      limits: parseLimits(counts.join(",")),
      dataDir: folder,
      model: createMadeUpModel(answersOf(golden)),
      bootstrapIterations: 1000,
      ...options,
    });
    expectEqualToGolden(record, golden);
  });

  it("would see one changed character of a prompt", async () => {
    const golden = readRun("piqa", "piqa 0-shot");
    const last = Math.max(...golden.map((sample) => sample.doc_id));
    const run = (task: ChoiceTask): Promise<EvaluationRecord> =>
      evaluateTasks({
        tasks: ["piqa"],
        registry: createTaskRegistry([task], []),
        limits: parseLimits(String(last + 1)),
        dataDir: folder,
        model: createMadeUpModel(),
        bootstrapIterations: 1000,
      });
    const readChanged: ChoiceTask["readRow"] = (row, where) => {
      const question = piqa.readRow(row, where);
      return where.endsWith(` row ${last + 1},`)
        ? { ...question, text: question.text.replace(":", ";") }
        : question;
    };
    expectEqualToGolden(await run(piqa), golden);
    const changed = await run({ ...piqa, readRow: readChanged });
    expect(() => expectEqualToGolden(changed, golden)).toThrow(/deeply equal/);
  });

  it("pools the tasks of a group as lm-eval does", async () => {
    const golden = readRun("bbh", "bbh cot_fewshot");
    const record = await evaluateTasks({
      tasks: ["bbh_cot_fewshot"],
      limits: parseLimits("3"),
      dataDir: folder,
      model: createMadeUpModel(answersOf(golden)),
    });
    expectEqualGroup(record, "bbh_cot_fewshot", "bbh cot_fewshot (groups)");
  });

  it("takes the ready prompts of the HellaSwag sample as they are", async () => {
    const record = await evaluateTasks({
      tasks: ["hellaswag"],
      dataDir: testData("data"),
      limits: parseLimits("5"),
      model: createMadeUpModel(),
    });
    expect(record["n-samples"]["hellaswag"]).toEqual({ original: 1000, effective: 5 });
    expect(record.samples["hellaswag"]![1]!.arguments[0]).toEqual([
      "Tango: A group of people sits around a large dance floor. A man and a woman walk onto the dance floor and dance. A band on stage plays. They",
      " approach the ladies while they dance seductively.",
    ]);
  });

  it.each([
    ["gsm8k", "gsm8k 5-shot, all 1319"],
    ["lambada_openai", "lambada_openai, all 5153, bootstrap 1000"],
    ["wikitext", "wikitext, all 62 pages"],
  ])("gives every prompt and figure of all of %s", async (task, run) => {
    const golden = readJson("results-full.json")[run]!;
    const responses = readLines<{ task: string; doc_id: number; response: string }>(
      "responses-full.jsonl.gz",
    );
    const byDocument = responses.filter((each) => each.task === task).toSorted((a, b) => a.doc_id - b.doc_id);
    const record = await evaluateTasks({
      tasks: [task],
      dataDir: folder,
      model: recordedInOrder(byDocument.map((each) => each.response)),
      bootstrapIterations: 1000,
    });
    const filter = record.samples[task]![0]!.filter;
    const samples = record.samples[task]!.filter((sample) => sample.filter === filter);
    const requests = golden["requests"]![task] as Values;
    expect(samples).toHaveLength(requests["docs"] as number);
    if (Array.isArray(golden["all_prompt_sha256"]))
      expect(samples.map((sample) => sample.prompt_hash)).toEqual(golden["all_prompt_sha256"]);
    expect(samples.at(-1)!.prompt_hash).toBe(requests["last_prompt_sha256"]);
    expect(hashArguments(samples)).toBe(requests["sha256_of_all_arguments"]);
    expectCloseTo(record.results[task]!, golden["results"]![task] as Values);
  });
});

describeWithData("the usual number of resamples", () => {
  it("gives the error of a perplexity that lm-eval 0.4.13 gives with its 100,000", async () => {
    const record = await evaluateTasks({
      tasks: ["lambada_openai"],
      limits: parseLimits("200"),
      dataDir: testData("data"),
      model: createMadeUpModel(),
    });
    expectCloseTo(record.results["lambada_openai"]!, {
      "perplexity,none": 18740255170.551113,
      "acc,none": 0.425,
    });
    // The errors of a hundred thousand exponentials add up.
    expect(
      Number(record.results["lambada_openai"]!["perplexity_stderr,none"]) / 44000254321.38808,
    ).toBeCloseTo(1, 12);
  });
});

/** Answers in the order of the documents, which is not the order of sending. */
function recordedInOrder(answers: readonly string[]): EvaluationOptions["model"] {
  const model = createMadeUpModel();
  let next = 0;
  return {
    ...model,
    prepare: (request) => {
      if (request.kind !== "generation") return model.prepare(request);
      const text = answers[next]!;
      next += 1;
      return { size: 1, send: () => Promise.resolve({ text, isCut: false }) };
    },
  };
}

/** JSON as Python writes it: the temperature is a float there. */
function hashArguments(samples: EvaluationRecord["samples"][string]): string {
  const hash = createHash("sha256");
  for (const sample of samples) {
    for (const pair of sample.arguments)
      hash.update(`${JSON.stringify(pair).replace('"temperature":0}', '"temperature":0.0}')}\n`);
  }
  return hash.digest("hex");
}

/** exp of JavaScript and of the C library may differ by one unit in the last place; all else is equal. */
function expectCloseTo(own: Values, golden: Values): void {
  for (const [key, value] of Object.entries(golden)) {
    const seen = own[key];
    const isExponential = key.includes("perplexity");
    if (typeof value !== "number" || !isExponential) expect([key, seen]).toEqual([key, value]);
    else expect(Math.abs((seen as number) / value - 1), key).toBeLessThanOrEqual(2 ** -50);
  }
}
