import { readdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import { writeEvaluation } from "../../src/flow/evaluation-files.ts";
import { evaluationOf, sampleOf } from "../made-up-evaluation.ts";
import { repositoryPath } from "../test-data.ts";
import { makeFolder, removeFolders, runCli } from "./run-cli.ts";

afterAll(removeFolders);

/** An evaluation of pebble with these documents, each right or wrong. */
function evaluationFolder(answers: Readonly<Record<number, 0 | 1>>): string {
  const folder = path.join(makeFolder(), "scores");
  const samples = Object.entries(answers).map(([id, acc]) => sampleOf(Number(id), { acc, acc_norm: acc }));
  writeEvaluation(folder, evaluationOf({ pebble: samples }));
  return folder;
}

test("names what has no counterpart, in the text and in the JSON", async () => {
  const base = evaluationFolder({ 0: 1, 1: 1, 2: 0, 3: 1 });
  const compressed = evaluationFolder({ 1: 0, 2: 0, 3: 1, 8: 1, 9: 1 });
  const text = await runCli("compare", base, compressed);
  expect(text, text.stderr).toMatchObject({ exitCode: 0 });
  expect(text.stdout).toContain("3 documents have no counterpart");
  expect(text.stdout).toContain("pebble: 1 document is only in the base and count in no figure (doc_id 0).");
  expect(text.stdout).toContain("pebble: 2 documents are only in the compressed model");
  const json = await runCli("compare", base, compressed, "--json");
  expect(JSON.parse(json.stdout)).toMatchObject({
    pairs: [
      {
        unpaired: [{ task: "pebble", onlyBase: [0], onlyCompressed: [8, 9] }],
        accuracy: [
          { metric: "acc", numDocuments: 3, flips: { lost: [1], gained: [] } },
          { metric: "acc_norm", numDocuments: 3, flips: { lost: [1], gained: [] } },
        ],
      },
    ],
  });
});

test("refuses two evaluations without a common document", async () => {
  const run = await runCli("compare", evaluationFolder({ 0: 1 }), evaluationFolder({ 5: 1 }));
  expect(run).toMatchObject({ exitCode: 2, stdout: "" });
  expect(run.stderr).toContain("[nothing_to_compare]");
  expect(run.stderr).toContain("pebble with 1");
});

test("a flow's record with a fault is told as that, by its folder, by itself and to a rerun", async () => {
  const folder = makeFolder();
  const file = path.join(folder, "comparison.json");
  writeFileSync(file, '{"kind": "compar');
  for (const command of [
    ["compare", folder],
    ["compare", file],
    ["flow", "rerun", folder],
  ]) {
    const run = await runCli(...command);
    expect(run).toMatchObject({ exitCode: 3, stdout: "" });
    expect(run.stderr).toMatch(/comparison\.json is no JSON: .*\[invalid_data_file\]/);
  }
  const none = await runCli("compare", makeFolder());
  expect(none.stderr).toMatch(/has no comparison\.json\. Give the folder.*\[file_not_found\]/);
});

const stages = (name: string): string =>
  repositoryPath("tests", "golden", "reference-stages", `${name}.json`);

test("sets reports of GuideLLM beside each other, with bounds and files", async () => {
  const out = path.join(makeFolder(), "comparison");
  const flags = ["--names", "bf16,W8A8", "--slo", "ttft_p95<=200ms", "--out", out];
  const run = await runCli("compare", stages("base"), stages("int8"), ...flags);
  expect(run, run.stderr).toMatchObject({ exitCode: 0 });
  expect(run.stdout).toContain("| W8A8 | 1 | 14.7 | 44 | 34.5 | 2.35 | 0.46 | 2.04 |");
  expect(readdirSync(out).sort()).toEqual(
    ["figures", ...["csv", "html", "json", "md"].map((end) => `comparison.${end}`)].sort(),
  );
});

test("refuses what is no run, a bound that it cannot read, and names that are too few", async () => {
  const nothing = await runCli("compare", stages("base"), makeFolder());
  expect(nothing.stderr).toMatch(/holds no run.*\[file_not_found\]/);
  const bound = await runCli("compare", stages("base"), stages("int8"), "--slo", "ttft<=200");
  expect(bound.stderr).toMatch(
    /--slo has "ttft<=200"; it takes bounds such as ttft_p90<=500ms.*\[invalid_option\]/,
  );
  const names = await runCli("compare", stages("base"), stages("int8"), "--names", "one");
  expect(names.stderr).toMatch(/--names has 1, and there are 2.*\[invalid_option\]/);
});
