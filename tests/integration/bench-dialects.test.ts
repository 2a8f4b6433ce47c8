// What a load test writes in the words of other tools is read back by `millrace compare` as the same figures.
import { expect, test } from "vitest";
import { guidellmReport } from "../../src/bench/dialects/guidellm-report.ts";
import { vllmResult } from "../../src/bench/dialects/vllm-result.ts";
import { guidellmSchema, readGuidellm } from "../../src/flow/compare/read-guidellm.ts";
import { readVllm, vllmSchema } from "../../src/flow/compare/read-vllm.ts";
import { loadSimulator } from "../simulated-load.ts";

test("vLLM's and GuideLLM's forms of a stage say the same when they are read again", async () => {
  const script = { numTokens: 16, ttftMs: 10, itlMs: 2 };
  const options = { concurrencies: [3], minRequests: 12 };
  const { record, stages, records: requests } = await loadSimulator([script], options);
  const stage = stages[0]!;
  const throughJson = (value: unknown): unknown => JSON.parse(JSON.stringify(value));
  const vllm = vllmSchema.parse(throughJson(vllmResult({ record: record!, stage, requests })));
  const guidellm = guidellmSchema.parse(throughJson(guidellmReport(record!, [{ stage, requests }])));
  for (const { levels } of [readVllm("v", vllm), readGuidellm("g", guidellm)]) {
    expect(levels).toHaveLength(1);
    const level = levels[0]!;
    expect(level).toMatchObject({ kind: "closed", asked: 3 });
    expect(level.requestsPerSecond).toBeCloseTo(stage.requestsPerSecond, 6);
    expect(level.outputTokensPerSecond).toBeCloseTo(stage.outputTokensPerSecond, 6);
    expect(level.ttftMs!.mean).toBeCloseTo(stage.ttftMs!.mean, 6);
    expect(level.tpotMs!.mean).toBeCloseTo(stage.tpotMs!.mean, 6);
  }
});
