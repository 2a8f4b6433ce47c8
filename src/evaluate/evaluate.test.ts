import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createCharacterTokenizer } from "../../tests/character-tokenizer.ts";
import type { Completer } from "../protocol/completer.ts";
import type { ScoreRequest, Scorer } from "../protocol/engine-client.ts";
import { evaluationResultsSchema } from "../records/evaluation.ts";
import { evaluateTasks } from "./evaluate.ts";
import type { LanguageModel } from "./requests/model-request.ts";
import { TokenModel } from "./requests/token-model.ts";
import { builtInTasks } from "./task-registry.ts";
import { parseLimits, parseSplits, settingFor } from "./task-settings.ts";
import { arcEasy } from "./tasks/arc.ts";
import { hellaswag } from "./tasks/hellaswag.ts";

const tokenizer = createCharacterTokenizer();

/** Every token has log-likelihood −`cost` of its id. */
function scorerOf(cost: (id: number) => number): Scorer {
  return {
    score: ({ tokenIds, start }: ScoreRequest) => {
      const scored = [...tokenIds].slice(start);
      return Promise.resolve({
        logprobs: Float32Array.from(scored, (id) => -cost(id)),
        argmax: Int32Array.from(scored),
        topIds: new Int32Array(0),
        topLogprobs: new Float32Array(0),
      });
    },
  };
}

const shortIsBest = scorerOf(() => 1);

const modelOf = (scorer: Scorer, maxLength = 100): LanguageModel =>
  new TokenModel({ tokenizer, maxLength, scorer, completer: null });

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), "millrace-"));
  mkdirSync(path.join(folder, "arc"));
});
afterEach(() => rmSync(folder, { recursive: true }));

function writeArc(rows: readonly unknown[], name = "ARC-Easy"): void {
  writeFileSync(
    path.join(folder, "arc", `${name}-test.jsonl`),
    rows.map((row) => JSON.stringify(row)).join("\n"),
  );
}

const question = (text: string, gold: string): unknown => ({
  question: text,
  choices: { text: ["long answer", "b", "cc"], label: ["A", "B", "C"] },
  answerKey: gold,
});

describe("evaluateTasks", () => {
  it("scores choices, keeps the order of the file and reports mean and standard error", async () => {
    writeArc([
      question("q", "B"),
      question("a much longer question", "A"),
      question("q2", "B"),
      question("q3", "C"),
    ]);
    const record = await evaluateTasks({
      tasks: ["arc_easy"],
      dataDir: folder,
      model: modelOf(shortIsBest),
    });
    expect(record.samples["arc_easy"]!.map((sample) => sample.metrics["acc"])).toEqual([1, 0, 1, 0]);
    expect(record.results["arc_easy"]).toMatchObject({ "acc,none": 0.5, sample_len: 4, alias: "arc_easy" });
    expect(record.results["arc_easy"]!["acc_stderr,none"]).toBeCloseTo(Math.sqrt(1 / 3) / 2, 15);
  });

  it("keeps a bounded number of requests in flight", async () => {
    writeArc(Array.from({ length: 9 }, (_, i) => question(`q${i}`, "A")));
    let open = 0;
    let most = 0;
    const scorer: Scorer = {
      async score(request) {
        open += 1;
        most = Math.max(most, open);
        await new Promise((resolve) => setImmediate(resolve));
        open -= 1;
        return shortIsBest.score(request);
      },
    };
    await evaluateTasks({
      tasks: ["arc_easy"],
      dataDir: folder,
      model: modelOf(scorer),
      concurrency: 6,
    });
    expect(most).toBe(6);
  });

  it("stops sending at the first failure, and when it is aborted", async () => {
    writeArc(Array.from({ length: 9 }, (_, i) => question(`q${i}`, "A")));
    let sent = 0;
    const scorer: Scorer = {
      score: () => {
        sent += 1;
        return Promise.reject(new Error("broken"));
      },
    };
    const options = { tasks: ["arc_easy"], dataDir: folder, concurrency: 2 };
    await expect(evaluateTasks({ ...options, model: modelOf(scorer) })).rejects.toThrow("broken");
    expect(sent).toBeLessThanOrEqual(2);
    const stop = AbortSignal.abort(new Error("enough"));
    await expect(evaluateTasks({ ...options, model: modelOf(shortIsBest), signal: stop })).rejects.toThrow(
      "enough",
    );
  });

  it("counts the answers that ran into their limit, and the prompt tokens that were computed", async () => {
    const four = { text: ["v", "w", "x", "y"], label: ["A", "B", "C", "D"] };
    writeArc(
      ["A", "B", "C"].map((answerKey) => ({ question: `q${answerKey}`, choices: four, answerKey })),
      "ARC-Challenge",
    );
    const texts = [" A", " B and on and on", " C. And on"];
    let numAsked = 0;
    const completer: Completer = {
      complete: () => {
        const text = texts[numAsked]!;
        numAsked += 1;
        const finishReason = numAsked === 1 ? "stop" : "length";
        return Promise.resolve({ text, finishReason, numCachedTokens: 7 });
      },
    };
    const model = new TokenModel({ tokenizer, maxLength: 2000, scorer: null, completer });
    const record = await evaluateTasks({ tasks: ["arc_challenge_chat"], dataDir: folder, model });
    // The third met a stop text before its limit.
    expect(record.cut_answers).toEqual({ arc_challenge_chat: 1 });
    const numTokens = record.samples["arc_challenge_chat"]!.map(({ arguments: asked }) => {
      return String(asked[0]![0]).length;
    });
    expect(record.prompt_tokens).toEqual({ sent: numTokens.reduce((a, b) => a + b), cached: 21 });
    expect(Object.keys(record.data_files!)).toEqual(["data/arc/ARC-Challenge-test.jsonl"]);
  });

  it("runs the embedded tasks without a data folder", async () => {
    const record = await evaluateTasks({
      tasks: ["pebble", "pebble_text"],
      limits: parseLimits("pebble=8,pebble_text=3"),
      model: modelOf(shortIsBest, 64),
    });
    expect(record["n-samples"]["pebble"]!.effective).toBe(8);
    expect(record.samples["pebble"]![0]!.arguments[0]![0]).toMatch(/^Question: .+\nAnswer:$/s);
    // One nat for each character of ASCII text: e per byte.
    expect(record.results["pebble_text"]!["byte_perplexity,none"]).toBeCloseTo(Math.E, 12);
  });

  it("makes a record that fits its own schema", async () => {
    writeArc([question("q", "B"), question("q2", "A")]);
    const options = { tasks: ["arc_easy", "pebble_text"], limits: parseLimits("2"), dataDir: folder };
    const record = await evaluateTasks({
      ...options,
      model: modelOf(shortIsBest),
      modelName: "m",
    });
    const { samples: _samples, ...results } = record;
    expect(evaluationResultsSchema.parse(JSON.parse(JSON.stringify(results)))).toEqual(results);
    expect(record).toMatchObject({
      model_name: "m",
      config: { model: "millrace", model_args: {}, limit: 2, bootstrap_iters: 100_000 },
    });
  });

  it.each([
    ["not json", "invalid_data_file", "{"],
    ["no question", "invalid_data_file", '{"a": 1}'],
  ])("refuses a data file with %s before any request", async (_name, code, line) => {
    writeFileSync(path.join(folder, "arc", "ARC-Easy-test.jsonl"), line);
    const run = evaluateTasks({
      tasks: ["arc_easy"],
      dataDir: folder,
      model: modelOf(shortIsBest),
    });
    await expect(run).rejects.toMatchObject({ code });
  });

  it("says which folder, split or file is missing", async () => {
    const options = { tasks: ["wikitext"], model: modelOf(shortIsBest) };
    await expect(evaluateTasks(options)).rejects.toMatchObject({ code: "invalid_option", param: "--data" });
    await expect(evaluateTasks({ ...options, dataDir: folder })).rejects.toMatchObject({
      code: "file_not_found",
    });
    const unknownSplit = evaluateTasks({ ...options, dataDir: folder, splits: parseSplits("dev") });
    await expect(unknownSplit).rejects.toMatchObject({ code: "invalid_option", param: "--split" });
  });
});

describe("task settings", () => {
  it("reads limits and splits for all tasks or single ones", () => {
    expect(settingFor(parseLimits("100"), "arc_easy")).toBe(100);
    const limits = parseLimits("wikitext=4, arc_easy=100");
    expect([
      settingFor(limits, "wikitext"),
      settingFor(limits, "arc_easy"),
      settingFor(limits, "pebble"),
    ]).toEqual([4, 100, null]);
    expect(settingFor(parseLimits("7,wikitext=2"), "pebble")).toBe(7);
    expect(settingFor(parseSplits("arc_easy=validation"), "arc_easy")).toBe("validation");
    expect(settingFor(parseLimits(undefined), "pebble")).toBeNull();
  });

  it.each(["0", "-1", "ten", "", "3,4", "arc_easy="])("refuses the limit %j", (text) => {
    expect(() => parseLimits(text)).toThrow(expect.objectContaining({ code: "invalid_option" }));
  });

  it("names the known tasks when one is unknown", () => {
    expect(() => builtInTasks.find("arc")).toThrow(/no task "arc".*arc_easy/);
    expect(() => parseLimits("arc=3")).toThrow(expect.objectContaining({ code: "unknown_task" }));
  });
});

describe("row shapes", () => {
  it("reads AI2's own ARC rows, the hub's, and ready prompts alike", () => {
    const hub = { question: "Why?", choices: { text: ["x", "y"], label: ["1", "2"] }, answerKey: "2" };
    const own = {
      question: {
        stem: "Why?",
        choices: [
          { text: "x", label: "1" },
          { text: "y", label: "2" },
        ],
      },
      answerKey: "2",
    };
    const ready = { query: "Question: Why?\nAnswer:", choices: ["x", "y"], gold: 1 };
    for (const row of [hub, own, ready]) {
      expect(arcEasy.readRow(row, "row")).toEqual({
        doc: row,
        text: "Question: Why?\nAnswer:",
        answer: "y",
        choices: ["x", "y"],
        gold: 1,
      });
    }
  });

  it("reads HellaSwag rows with a joined context", () => {
    const row = {
      activity_label: "Tea",
      ctx: "Boil  water. Then",
      endings: ["[step] pour", "sleep"],
      label: 1,
    };
    expect(hellaswag.readRow(row, "row")).toEqual({
      doc: row,
      text: "Tea: Boil water. Then",
      answer: "sleep",
      choices: [" pour", "sleep"],
      gold: 1,
    });
  });

  it("refuses a right answer that is not among the choices", () => {
    expect(() => arcEasy.readRow({ query: "q", choices: ["x"], gold: 1 }, "row 3")).toThrow(/row 3.*0 to 0/);
  });
});
