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

describeWithData("arc_easy on SmolLM2 against lm-eval with transformers", () => {
  it("gives every log-likelihood within 1e-3, and the same scores", { timeout: 900_000 }, async (context) => {
    const recorded = gunzipSync(readFileSync(testData("data", "lm-eval-smollm2", "arc_easy.jsonl.gz")))
      .toString()
      .trim()
      .split("\n")
      .slice(0, numRows)
      .map((line) => JSON.parse(line) as RecordedSample);
    const checkpoint = openCheckpoint(model);
    const tokenizer = createTokenizer(checkpoint.tokenizer()!);
    checkpoint.close();
    const scorer = await startEngine(context);
    const record = await evaluateTasks({
      tasks: ["arc_easy"],
      splits: parseSplits("validation"),
      limits: parseLimits(String(recorded.length)),
      dataDir: testData("data"),
      model: new TokenModel({
        tokenizer,
        maxLength: scorer.info.maxModelLen,
        scorer,
        completer: null,
      }),
    });
    await scorer.close();
    const samples = record.samples["arc_easy"]!;
    expect(samples.map((sample) => sample.arguments)).toEqual(recorded.map((sample) => sample.arguments));
    const seen = samples.flatMap((sample) => sample.filtered_resps as [number, boolean][]);
    const wanted = recorded.flatMap((sample) => sample.resps.map(([pair]) => pair));
    const differences = seen.map(([value], i) => Math.abs(value - Number(wanted[i]![0])));
    expect(Math.max(...differences)).toBeLessThan(1e-3);
    expect(seen.map(([, isGreedy]) => isGreedy)).toEqual(wanted.map(([, text]) => text === "True"));
    expect(samples.map((sample) => sample.metrics)).toEqual(recorded.map((sample) => sample.metrics));
  });
});
