import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, it } from "vitest";
import { evaluateTasks } from "../../src/evaluate/evaluate.ts";
import { parseLimits, parseSplits } from "../../src/evaluate/task-registry.ts";
import type { ScoreRequest, ScoreResult, Scorer } from "../../src/protocol/engine-client.ts";
import type { EvaluationRecord } from "../../src/records/evaluation.ts";
import { createCharacterTokenizer } from "../character-tokenizer.ts";
import { describeWithData, testData } from "../test-data.ts";

interface GoldenSample {
  readonly run: string;
  readonly task: string;
  readonly doc_id: number;
  readonly doc?: unknown;
  readonly arguments: string[][];
  readonly resps: (number | [number, boolean])[][];
  readonly metrics: Record<string, unknown>;
  readonly prompt_hash: string;
}

const tokenizer = createCharacterTokenizer();

/**
 * The recorded runs' made-up model: values come from SHA-256 of the texts. The f64 value is spread over three f32
 * log-probabilities, which add up to it exactly.
 */
function createMadeUpModel(pairs: readonly string[][] = []): Scorer {
  const pairOf = new Map(pairs.map((pair) => [pair.join(""), pair]));
  return { score: (request) => Promise.resolve(scoreByHash(request, pairOf)) };
}

/** Where a context ends in a blank the token split differs from the text's: `pairOf` tells the text's own. */
function scoreByHash(
  { tokenIds, start }: ScoreRequest,
  pairOf: ReadonlyMap<string, readonly string[]>,
): ScoreResult {
  const ids = [...tokenIds];
  const isRolling = tokenizer.isSpecial(ids[0]!);
  const context = tokenizer.decode(ids.slice(0, start));
  const continuation = tokenizer.decode(ids.slice(start));
  const digest = createHash("sha256")
    .update(
      isRolling ? continuation : (pairOf.get(context + continuation) ?? [context, continuation]).join("\0"),
    )
    .digest();
  const share = digest.readUInt32BE(0) / 4294967296;
  const value = isRolling ? -share * 5000 - 1000 : -share * 50;
  const isGreedy = (digest[4]! & 1) === 1;
  const logprobs = new Float32Array(ids.length - start);
  logprobs[0] = value;
  if (logprobs.length > 1) logprobs[1] = value - logprobs[0]!;
  if (logprobs.length > 2) logprobs[2] = value - logprobs[0]! - logprobs[1]!;
  const argmax = Int32Array.from(ids.slice(start), (id) => (isGreedy ? id : -1));
  return { logprobs, argmax, topIds: new Int32Array(0), topLogprobs: new Float32Array(0) };
}

function readGolden(task: string, run: string): GoldenSample[] {
  const text = gunzipSync(
    readFileSync(testData("data", "lm-eval-golden", `samples-${task}.jsonl.gz`)),
  ).toString();
  const samples = text.trim().split("\n");
  return samples.map((line) => JSON.parse(line) as GoldenSample).filter((sample) => sample.run === run);
}

function readResults(file: string): Record<string, Record<string, Record<string, unknown>>> {
  return JSON.parse(readFileSync(testData("data", "lm-eval-golden", file), "utf8")) as ReturnType<
    typeof readResults
  >;
}

function expectEqualToGolden(record: EvaluationRecord, task: string, run: string): void {
  const golden = readGolden(task, run);
  const samples = record.samples[task]!;
  expect(samples.map((sample) => sample.doc_id)).toEqual(golden.map((sample) => sample.doc_id));
  for (const [i, sample] of samples.entries()) {
    expect(sample.arguments).toEqual(golden[i]!.arguments);
    expect(sample.metrics).toEqual(golden[i]!.metrics);
    expect(sample.prompt_hash).toBe(golden[i]!.prompt_hash);
    expect(sample.resps.flat()).toEqual(golden[i]!.resps.flat(2));
  }
  expect(record.results[task]).toMatchObject(readResults("results-samples.json")[run]![task]!);
}

describeWithData("tasks against lm-eval's own records", () => {
  const common = { scorer: createMadeUpModel(), tokenizer, maxLength: 1 << 20 };
  let folder = "";

  beforeAll(() => {
    folder = mkdtempSync(path.join(tmpdir(), "millrace-"));
    mkdirSync(path.join(folder, "hellaswag"));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it.each(["arc_easy", "arc_challenge"])("gives the prompts, scores and errors of %s", async (task) => {
    const options = {
      tasks: [task],
      dataDir: testData("data"),
      limits: parseLimits("20"),
      splits: parseSplits("validation"),
    };
    expectEqualToGolden(await evaluateTasks({ ...common, ...options }), task, "arc 0-shot");
  });

  it("cleans HellaSwag's raw rows and scores them alike", async () => {
    const run = "hellaswag 0-shot, invented rows";
    const rows = readGolden("hellaswag", run).map((sample) => {
      const { activity_label, ctx_a, ctx_b, endings, label } = sample.doc as Record<string, unknown>;
      return JSON.stringify({ activity_label, ctx_a, ctx_b, endings, label });
    });
    writeFileSync(path.join(folder, "hellaswag", "validation.jsonl"), rows.join("\n"));
    const scorer = createMadeUpModel(readGolden("hellaswag", run).flatMap((sample) => sample.arguments));
    const record = await evaluateTasks({ ...common, scorer, tasks: ["hellaswag"], dataDir: folder });
    expectEqualToGolden(record, "hellaswag", run);
  });

  it("takes the ready prompts of the HellaSwag sample as they are", async () => {
    const record = await evaluateTasks({
      ...common,
      tasks: ["hellaswag"],
      dataDir: testData("data"),
      limits: parseLimits("5"),
    });
    expect(record["n-samples"]["hellaswag"]).toEqual({ original: 1000, effective: 5 });
    expect(record.samples["hellaswag"]![1]!.arguments[0]).toEqual([
      "Tango: A group of people sits around a large dance floor. A man and a woman walk onto the dance floor and dance. A band on stage plays. They",
      " approach the ladies while they dance seductively.",
    ]);
  });

  it("splits, detokenises and scores the first articles of WikiText", async () => {
    const record = await evaluateTasks({
      ...common,
      tasks: ["wikitext"],
      dataDir: testData("data"),
      limits: parseLimits("wikitext=3"),
    });
    expectEqualToGolden(record, "wikitext", "wikitext");
  });

  it("gives every prompt and the perplexities of all of WikiText", async () => {
    const golden = readResults("results-full.json")["wikitext, all 62 pages"]!;
    const record = await evaluateTasks({ ...common, tasks: ["wikitext"], dataDir: testData("data") });
    const samples = record.samples["wikitext"]!;
    const hash = createHash("sha256");
    for (const sample of samples)
      for (const pair of sample.arguments) hash.update(`${JSON.stringify(pair)}\n`);
    const requests = golden["requests"]!["wikitext"] as Record<string, unknown>;
    expect(samples).toHaveLength(62);
    expect(samples.at(-1)!.prompt_hash).toBe(requests["last_prompt_sha256"]);
    expect(hash.digest("hex")).toBe(requests["sha256_of_all_arguments"]);
    const { "word_perplexity,none": perplexity, ...rest } = golden["results"]!["wikitext"] as Record<
      string,
      unknown
    >;
    expect(record.results["wikitext"]).toMatchObject(rest);
    // exp of JavaScript and of the C library differ by one unit in the last place here; its argument is the same.
    const unit = 2 ** -51;
    expect(
      Math.abs((record.results["wikitext"]!["word_perplexity,none"] as number) - (perplexity as number)),
    ).toBeLessThanOrEqual(unit);
  });
});
