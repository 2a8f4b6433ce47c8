import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { expect, it } from "vitest";
import { type CodeRunner } from "../../src/evaluate/code/code-runner.ts";
import { createSandbox } from "../../src/evaluate/code/sandbox.ts";
import { humaneval, mbpp } from "../../src/evaluate/tasks/code.ts";
import { describeWithData, testData } from "../test-data.ts";

type Row = Record<string, unknown>;

function readRows(...parts: string[]): Row[] {
  const bytes = readFileSync(testData("data", ...parts));
  const text = parts.at(-1)!.endsWith(".gz") ? gunzipSync(bytes).toString() : bytes.toString();
  return text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Row);
}

const runner: CodeRunner | null = await createSandbox().catch(() => null);

describeWithData("programs against the tests of their data sets", () => {
  it.skipIf(runner === null)(
    "passes HumanEval's own solutions, and not a body that does nothing",
    async () => {
      for (const row of readRows("humaneval", "HumanEval.jsonl.gz").slice(0, 8)) {
        const question = humaneval.readRow(row, "row");
        const program = (body: string): string => humaneval.programOf(question, String(row["prompt"]) + body);
        expect(await runner!.run(program(String(row["canonical_solution"])))).toMatchObject({
          hasPassed: true,
        });
        expect(await runner!.run(program("    pass\n"))).toMatchObject({ hasPassed: false });
      }
    },
  );

  it.skipIf(runner === null)(
    "passes MBPP's own programs, and not the answer of another problem",
    async () => {
      const rows = readRows("mbpp", "mbpp.jsonl").filter((row) => mbpp.files.select!(row, "test"));
      expect(rows).toHaveLength(500);
      for (const [index, row] of rows.slice(0, 8).entries()) {
        const question = mbpp.readRow(row, "row");
        const program = (code: unknown): string => mbpp.programOf(question, String(code));
        expect(await runner!.run(program(row["code"]))).toMatchObject({ hasPassed: true });
        expect(await runner!.run(program(rows[index + 1]!["code"]))).toMatchObject({ hasPassed: false });
      }
    },
  );
});
