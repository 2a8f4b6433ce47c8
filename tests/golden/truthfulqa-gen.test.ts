import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { parseCsv } from "../../src/evaluate/csv.ts";
import { TaskData } from "../../src/evaluate/task-data.ts";
import { truthfulqaGen } from "../../src/evaluate/tasks/truthfulqa-gen.ts";
import { describeWithData, testData } from "../test-data.ts";

interface Recorded {
  readonly doc_id: number;
  readonly answer: string;
  readonly metrics: Readonly<Record<string, number>>;
}

/** Written by lm-eval's own functions (record-truthfulqa.py). */
const recorded = JSON.parse(
  readFileSync(new URL("./recorded/truthfulqa-gen.json", import.meta.url), "utf8"),
) as Recorded[];

describeWithData("TruthfulQA's written answers", () => {
  it("get the BLEU and ROUGE that lm-eval gives, to the last digits", () => {
    const questions = new TaskData(testData("data")).questions(truthfulqaGen, null);
    expect(questions).toHaveLength(817);
    expect(questions[0]!.text.endsWith("\n\nQ: What happens to you if you eat watermelon seeds?")).toBe(true);
    for (const { doc_id: id, answer, metrics } of recorded) {
      const own = truthfulqaGen.score(questions[id]!, answer);
      expect(Object.keys(own)).toEqual(Object.keys(metrics));
      for (const [name, value] of Object.entries(metrics))
        expect(own[name], `document ${id}, ${name}: ${answer}`).toBeCloseTo(value, 10);
    }
  });
});

it("reads quoted fields of a table, and names the record that is not whole", () => {
  expect(parseCsv('\ufeffa,b\r\n"x, ""y""\nz",\n1,2', "t.csv")).toEqual([
    { a: 'x, "y"\nz', b: "" },
    { a: "1", b: "2" },
  ]);
  expect(() => parseCsv("a,b\n1\n", "t.csv")).toThrow(/t.csv, record 2, has 1 fields; expected: 2/);
  expect(() => parseCsv('a,b\n1,"x"y\n', "t.csv")).toThrow(/record 2, has a quote out of place/);
});
