import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { expect, it, type TestContext } from "vitest";
import { defaultEngineOptions } from "../../src/engine/engine-options.ts";
import { createInProcessClient } from "../../src/engine/in-process-client.ts";
import { loadEngine } from "../../src/engine/load-engine.ts";
import { evaluateTasks } from "../../src/evaluate/evaluate.ts";
import { TokenModel } from "../../src/evaluate/requests/token-model.ts";
import { parseLimits, parseSplits } from "../../src/evaluate/task-settings.ts";
import { openCheckpoint } from "../../src/formats/open-checkpoint.ts";
import { nativeStatus } from "../../src/kernels/create-ops.ts";
import type { EngineClient } from "../../src/protocol/engine-client.ts";
import type { EvaluationRecord } from "../../src/records/evaluation.ts";
import { createTokenizer } from "../../src/tokenizer/create-tokenizer.ts";
import { describeWithData, testData } from "../test-data.ts";

interface RecordedSample {
  readonly arguments: string[][];
  /** Log-likelihood and "True" or "False". */
  readonly resps: [[string, string]][];
  readonly metrics: Record<string, number>;
}

/** Rows to run: 60 keep the suite quick; MILLRACE_TEST_ROWS=200 runs all that are recorded. */
const numRows = Number(process.env["MILLRACE_TEST_ROWS"] ?? 60);
const model = testData("models", "smollm2-135m-instruct-q4_1.gguf");

/** The exact path on the native backend; the plain TypeScript one would need an hour. */
async function startEngine(context: TestContext): Promise<EngineClient> {
  if (!nativeStatus().available) context.skip("needs the native backend");
  const options = {
    ...defaultEngineOptions(model),
    dtype: "bfloat16",
    activations: "f32",
    maxModelLen: 1024,
  } as const;
  return createInProcessClient(await loadEngine({ ...options, backend: "native" }));
}

function readRecorded(file: string): RecordedSample[] {
  return gunzipSync(readFileSync(testData("data", "lm-eval-smollm2", file)))
    .toString()
    .trim()
    .split("\n")
    .slice(0, numRows)
    .map((line) => JSON.parse(line) as RecordedSample);
}

async function evaluateOnEngine(
  context: TestContext,
  task: string,
  limit: number,
): Promise<EvaluationRecord> {
  const checkpoint = openCheckpoint(model);
  const tokenizer = createTokenizer(checkpoint.tokenizer()!);
  checkpoint.close();
  const scorer = await startEngine(context);
  const record = await evaluateTasks({
    tasks: [task],
    splits: parseSplits("arc_easy=validation"),
    limits: parseLimits(String(limit)),
    dataDir: testData("data"),
    model: new TokenModel({
      tokenizer,
      maxLength: scorer.info.maxModelLen,
      scorer,
      completer: null,
    }),
    bootstrapIterations: 1000,
  });
  await scorer.close();
  return record;
}

describeWithData("SmolLM2 against lm-eval with transformers", () => {
  it.for([
    ["arc_easy", "arc_easy.jsonl.gz"],
    ["lambada_openai", "lambada.jsonl.gz"],
  ] as const)(
    "gives every log-likelihood of %s within 1e-3, and the same scores",
    { timeout: 900_000 },
    async ([task, file], context) => {
      const recorded = readRecorded(file);
      const record = await evaluateOnEngine(context, task, recorded.length);
      const samples = record.samples[task]!;
      expect(samples.map((sample) => sample.arguments)).toEqual(recorded.map((sample) => sample.arguments));
      const seen = samples.flatMap((sample) => sample.filtered_resps as [number, boolean][]);
      const wanted = recorded.flatMap((sample) => sample.resps.map(([pair]) => pair));
      const differences = seen.map(([value], i) => Math.abs(value - Number(wanted[i]![0])));
      expect(Math.max(...differences)).toBeLessThan(1e-3);
      expect(seen.map(([, isGreedy]) => isGreedy)).toEqual(wanted.map(([, text]) => text === "True"));
      const { perplexity, acc } = averagesOf(recorded);
      expect(record.results[task]!["acc,none"]).toBe(acc);
      if (task === "arc_easy")
        expect(samples.map(({ metrics }) => metrics)).toEqual(recorded.map(({ metrics }) => metrics));
      else
        expect(Math.abs(Number(record.results[task]!["perplexity,none"]) / perplexity - 1)).toBeLessThan(
          1e-3,
        );
    },
  );
});

function averagesOf(samples: readonly RecordedSample[]): {
  readonly perplexity: number;
  readonly acc: number;
} {
  const meanOf = (metric: string): number =>
    samples.reduce((sum, { metrics }) => sum + (metrics[metric] ?? 0), 0) / samples.length;
  return { perplexity: Math.exp(-meanOf("perplexity")), acc: meanOf("acc") };
}
