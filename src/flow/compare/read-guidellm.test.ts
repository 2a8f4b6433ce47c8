// Of a report that GuideLLM 0.8.1 wrote itself: 12 requests of 16 tokens.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { repositoryPath } from "../../../tests/test-data.ts";
import { judgeLevel, parseSlo } from "../../records/slo.ts";
import { guidellmSchema, readGuidellm } from "./read-guidellm.ts";

const file = repositoryPath("tests/golden/recorded/load-dialects/guidellm.json");
const text = readFileSync(file, "utf8");

test("percentiles of TPOT are those of as many samples as requests, not of their tokens", () => {
  const [level] = readGuidellm("a", guidellmSchema.parse(JSON.parse(text))).levels;
  for (const metric of ["ttftMs", "tpotMs", "e2eMs"] as const)
    expect(level![metric]).toMatchObject({ count: 12, weak: ["p90", "p95", "p99"] });
  const [finding] = judgeLevel(level!, parseSlo("tpot_p99<=1ms"));
  expect(finding).toMatchObject({ isMet: false, isWeak: true });
});

test("without the totals the count of the latencies tells how many requests there were", () => {
  const report = JSON.parse(text) as { benchmarks: [{ metrics: Record<string, unknown> }] };
  delete report.benchmarks[0].metrics["request_totals"];
  const [level] = readGuidellm("a", guidellmSchema.parse(report)).levels;
  expect(level!.tpotMs!.count).toBe(12);
});

test("requests that were incomplete at the end of a benchmark are those that it cut off", () => {
  const report = JSON.parse(text) as { benchmarks: [{ metrics: Record<string, object> }] };
  const [{ metrics }] = report.benchmarks;
  metrics["request_totals"] = { ...metrics["request_totals"], incomplete: 3, total: 15 };
  const [level] = readGuidellm("a", guidellmSchema.parse(report)).levels;
  expect(level).toMatchObject({ numRequests: 15, numErrors: 0, numCensored: 3 });
});
