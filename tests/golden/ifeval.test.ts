import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { expect, it } from "vitest";
import { checkLoosely, checkStrictly, type Instruction } from "../../src/evaluate/ifeval/instructions.ts";
import { loadLanguageTools, readInstructions } from "../../src/evaluate/tasks/ifeval.ts";
import { describeWithData, testData } from "../test-data.ts";

interface Verdicts {
  readonly key: number;
  readonly response: string;
  readonly strict: boolean[];
  readonly loose: boolean[];
}

const read = (...parts: string[]): string => readFileSync(testData("data", ...parts), "utf8");
const readGzip = (...parts: string[]): string =>
  gunzipSync(readFileSync(testData("data", ...parts))).toString();
const rowsOf = <T>(text: string): T[] =>
  text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as T);

/** lm-eval counts a random letter where the letter is a sign: those rows are left out. */
const hasPlainLetters = (instructions: readonly Instruction[]): boolean =>
  instructions.every(({ parameters: { letter } }) => typeof letter !== "string" || /^[a-z]$/i.test(letter));

describeWithData("IFEval against lm-eval's verdicts", () => {
  it("gives every verdict, strict and loose", () => {
    const tools = loadLanguageTools((path) => (path.endsWith(".json") ? readGzip(`${path}.gz`) : read(path)));
    const prompts = new Map(
      rowsOf<Record<string, unknown>>(read("ifeval", "input_data.jsonl")).map((row) => [
        Number(row["key"]),
        readInstructions(row, "row"),
      ]),
    );
    const golden = rowsOf<Verdicts>(readGzip("lm-eval-golden", "ifeval-responses.jsonl.gz")).filter(
      ({ key }) => hasPlainLetters(prompts.get(Number(key))!),
    );
    expect(golden.length).toBeGreaterThanOrEqual(240);
    for (const { key, response, strict, loose } of golden) {
      const instructions = prompts.get(Number(key))!;
      const ids = instructions.map(({ id }) => id);
      expect([key, ids, checkStrictly(response, instructions, tools)]).toEqual([key, ids, strict]);
      expect([key, ids, checkLoosely(response, instructions, tools)]).toEqual([key, ids, loose]);
    }
  });
});
