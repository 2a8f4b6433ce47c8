import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { describeWithData, testData } from "../../tests/test-data.ts";
import { traceRequest } from "../../tests/trace-request.ts";
import { parseTrace } from "./request-trace.ts";

const azure = [
  "TIMESTAMP,ContextTokens,GeneratedTokens",
  "2023-11-16 18:15:50.9951690,396,109",
  "2023-11-16 18:15:46.6805900,374,44",
  "",
].join("\r\n");

test("reads Azure's form, sorted, from the first arrival on", () => {
  const [first, second] = parseTrace(azure, "trace.csv");
  expect(first).toEqual(traceRequest({ numPromptTokens: 374, numOutputTokens: 44 }));
  expect(second!.arrivalMs).toBeCloseTo(4314.579, 3);
});

test("reads Mooncake's form, and scheduling fields beside it", () => {
  const text =
    '{"timestamp": 5, "input_length": 655, "output_length": 52, "hash_ids": [46, 47]}\n' +
    '{"timestamp": 7.5, "input_length": 6, "output_length": 2, "max_tokens": 9, "priority": -1, "tenant": "a", "deadline_ms": 50}\n';
  expect(parseTrace(text, "trace.jsonl")).toEqual([
    traceRequest({ numPromptTokens: 655, numOutputTokens: 52, hashIds: [46, 47] }),
    traceRequest({
      arrivalMs: 2.5,
      numPromptTokens: 6,
      numOutputTokens: 2,
      maxTokens: 9,
      scheduling: { priority: -1, tenant: "a", deadlineMs: 50 },
    }),
  ]);
});

test("refuses what is no trace, with the line", () => {
  const header = "TIMESTAMP,ContextTokens,GeneratedTokens\n";
  const cases: [string, string][] = [
    ["", "begins with"],
    ["a,b\n1,2", "begins with"],
    [header, "holds no request"],
    [`${header}2023-11-16 18:15:46,1\n`, "line 2: GeneratedTokens is undefined"],
    [`${header}yesterday,1,2\n`, 'line 2: TIMESTAMP is "yesterday"'],
    [`${header}2023-11-16 18:15:46,1.5,2\n`, 'line 2: ContextTokens is "1.5"'],
    [`${header}2023-11-16 18:15:46,-1,2\n`, 'line 2: ContextTokens is "-1"'],
    [`${header}2023-11-16 18:15:46,1e99,2\n`, "ContextTokens"],
    ['{"timestamp": 1', "no JSON"],
    ['{"timestamp": 1}', "input_length is undefined"],
    ['{"timestamp": "1", "input_length": 1, "output_length": 1}', "timestamp"],
    ['{"timestamp": 1, "input_length": 1, "output_length": 1, "hash_ids": ["x"]}', "hash_ids"],
    ['{"timestamp": 1, "input_length": 1, "output_length": 1, "tenant": 3}', "tenant is 3"],
  ];
  for (const [text, message] of cases) {
    const error = { code: "invalid_data_file", message: expect.stringContaining(message) as string };
    expect(() => parseTrace(text, "t")).toThrow(expect.objectContaining(error));
  }
});

describeWithData("the Azure traces", () => {
  test("are read whole", () => {
    for (const [name, count] of [
      ["conv", 19_366],
      ["code", 8_819],
    ] as const) {
      const file = testData("data", "request-traces", `AzureLLMInferenceTrace_${name}.csv`);
      const trace = parseTrace(readFileSync(file, "utf8"), name);
      expect(trace.length).toBe(count);
      expect(trace[0]!.arrivalMs).toBe(0);
      expect(trace.at(-1)!.arrivalMs).toBeGreaterThan(3_400_000);
      expect(trace.at(-1)!.arrivalMs).toBeLessThan(3_600_000);
    }
  });
});
