import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type HubStub, startHubStub, stubCommit, useHubStub } from "../hub-stub.ts";
import { repositoryPath } from "../test-data.ts";
import { expectRefusal } from "./expect-refusal.ts";
import { endProcesses, makeFolder, pebble, removeFolders, runCli } from "./run-cli.ts";

const folder = makeFolder();
const recorded = repositoryPath("tests", "golden", "recorded", "data-sets");
const parquet = readFileSync(path.join(recorded, "science.parquet"));
const { rows } = JSON.parse(readFileSync(path.join(recorded, "expected.json"), "utf8")) as {
  readonly rows: { readonly science: readonly object[] };
};
let stub: HubStub;
let leaveHubStub: () => void;

beforeAll(async () => {
  const files = {
    "README.md": Buffer.from(
      "---\nlicense: cc-by-sa-4.0\nconfigs:\n- config_name: ARC-Easy\n  data_files:\n  - split: test\n    path: ARC-Easy/test-*\n---\n",
    ),
    "ARC-Easy/test-00000-of-00001.parquet": parquet,
  };
  const damaged = { "test.parquet": parquet.subarray(0, 1500) };
  stub = await startHubStub({
    "datasets/allenai/ai2_arc": { files, license: "cc-by-sa-4.0" },
    "datasets/org/damaged": { files: damaged },
  });
  leaveHubStub = useHubStub(stub, path.join(folder, "cache"));
});

afterAll(async () => {
  leaveHubStub();
  await stub.close();
  endProcesses();
  removeFolders();
});

const evaluate = (...more: string[]) =>
  runCli("evaluate", pebble, "--tasks", "arc_easy", "--json", "--max-model-len", "256", ...more);

test("a task without --data reads its data set from the hub, and again without a network", async () => {
  const fromHub = await evaluate();
  expect(fromHub.exitCode, fromHub.stderr).toBe(0);
  expect(fromHub.stderr).toMatch(
    /allenai\/ai2_arc at 0123456789ab: licence cc-by-sa-4.0; 2 files, .* to .*cache/,
  );
  const results = JSON.parse(fromHub.stdout) as Record<string, unknown>;
  const hash = createHash("sha256").update(parquet).digest("hex");
  expect(results["data_files"]).toEqual({
    [`hub/allenai/ai2_arc@${stubCommit}/ARC-Easy/test-00000-of-00001.parquet`]: hash,
  });
  expect(results["n-samples"]).toEqual({ arc_easy: { original: 4, effective: 4 } });

  const data = path.join(folder, "data");
  mkdirSync(path.join(data, "arc"), { recursive: true });
  const lines = rows.science.map((row) => JSON.stringify(row)).join("\n");
  writeFileSync(path.join(data, "arc", "ARC-Easy-test.jsonl"), lines);
  stub.requests.length = 0;
  const fromFolder = await evaluate("--data", `${data},hub`);
  expect(stub.requests).toEqual([]);
  const local = JSON.parse(fromFolder.stdout) as Record<string, unknown>;
  expect(Object.keys(local["data_files"] as object)).toEqual(["data/arc/ARC-Easy-test.jsonl"]);
  // The hashes of all documents, prompts and targets are in it.
  expect(local["task_hashes"]).toEqual(results["task_hashes"]);
  expect(local["results"]).toEqual(results["results"]);

  process.env["HF_HUB_OFFLINE"] = "1";
  const offline = await evaluate("--data", "hub");
  process.env["HF_HUB_OFFLINE"] = "0";
  expect(JSON.parse(offline.stdout)).toMatchObject({
    results: results["results"],
    data_files: results["data_files"],
  });
});

test("a task file names a data set with its configuration and revision", async () => {
  const file = path.join(folder, "own.yaml");
  writeFileSync(
    file,
    [
      "task: own",
      "output_type: multiple_choice",
      "dataset_path: allenai/ai2_arc",
      "dataset_name: ARC-Easy",
      `dataset_kwargs: {revision: ${stubCommit}}`,
      "test_split: test",
      'doc_to_text: "Question: {{question}}\\nAnswer:"',
      'doc_to_choice: "{{choices.text}}"',
      'doc_to_target: "{{choices.label.index(answerKey)}}"',
    ].join("\n"),
  );
  const args = ["evaluate", pebble, "--json", "--max-model-len", "256", "--tasks"];
  const own = JSON.parse((await runCli(...args, file)).stdout) as Record<string, Record<string, object>>;
  const builtIn = JSON.parse((await evaluate()).stdout) as typeof own;
  const { acc } = { acc: "acc,none" } as const;
  expect(own["results"]!["own"]).toMatchObject({
    [acc]: (builtIn["results"]!["arc_easy"] as Record<string, number>)[acc],
  });
});

test("what the hub has not, a damaged file and two folders are refused", async () => {
  const run = (...more: string[]) => ["evaluate", pebble, "--tasks", "arc_easy", ...more];
  await expectRefusal(path.join(folder, "none"), {
    args: run("--split", "validation"),
    code: "hub_not_found",
    exitCode: 2,
    says: ['allenai/ai2_arc has no split "validation"', "It has test"],
  });
  await expectRefusal(path.join(folder, "none"), {
    args: run("--data-revision", "v9"),
    code: "hub_not_found",
    exitCode: 2,
    says: ["allenai/ai2_arc has no revision v9"],
  });
  await expectRefusal(path.join(folder, "none"), {
    args: run("--data", "a,b"),
    code: "invalid_option",
    exitCode: 2,
    says: ["--data names 2 folders: a, b", '"hub"'],
  });
  const file = path.join(folder, "damaged.yaml");
  writeFileSync(
    file,
    'task: damaged\noutput_type: loglikelihood\ndataset_path: org/damaged\ntest_split: test\ndoc_to_text: ""\ndoc_to_target: question\n',
  );
  await expectRefusal(path.join(folder, "none"), {
    args: ["evaluate", pebble, "--tasks", file],
    code: "invalid_data_file",
    exitCode: 3,
    says: ["org/damaged, test.parquet cannot be read", "a whole Parquet file"],
  });
});

test("a data set stands in the list of the cache, and is taken out of it", async () => {
  await evaluate();
  expect((await runCli("list")).stdout).toMatch(/datasets\/allenai\/ai2_arc +\S+ KiB +0123456789ab main/);
  expect((await runCli("rm", "datasets/allenai/ai2_arc")).stdout).toMatch(
    /^Removed datasets\/allenai\/ai2_arc: /,
  );
  expect((await runCli("list")).stdout).not.toContain("ai2_arc");
  await expectRefusal(path.join(folder, "none"), {
    args: ["rm", "datasets/../../x"],
    code: "invalid_option",
    exitCode: 2,
    says: ["no hub id"],
  });
});
