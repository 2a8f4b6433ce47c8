import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import {
  endProcesses,
  makeFolder,
  pebble,
  removeFolders,
  runCli,
  startServe,
  untilReady,
} from "./run-cli.ts";

afterAll(() => {
  endProcesses();
  removeFolders();
});

/** A line of lm-eval's samples file: numbers and verdicts as Python's texts. */
interface Sample {
  readonly doc_id: number;
  readonly filtered_resps: readonly (readonly [string, string])[];
  readonly acc: number;
  readonly acc_norm: number;
}

function readFileOf(folder: string, name: RegExp): string {
  const found = readdirSync(folder).filter((each) => name.test(each));
  expect(found).toHaveLength(1);
  return readFileSync(path.join(folder, found[0]!), "utf8");
}

function readSamples(folder: string): Sample[] {
  const lines = readFileOf(folder, /^samples_pebble_[-.T\d]+\.jsonl$/)
    .trimEnd()
    .split("\n");
  return lines.map((line) => JSON.parse(line) as Sample);
}

const tasks = ["--tasks", "pebble", "--limit", "10"];

test("evaluate --url gives the log-likelihoods of the model itself", async () => {
  const [local, remote] = [makeFolder(), makeFolder()];
  const served = await startServe(pebble, "--port", "0");
  await untilReady(served.url);
  const url = `${served.url}/v1`;
  const direct = await runCli("evaluate", pebble, ...tasks, "--out", local);
  expect(direct.exitCode, direct.stderr).toBe(0);
  const over = await runCli("evaluate", "--tokenizer", pebble, "--url", url, ...tasks, "--out", remote);
  expect(over.exitCode, over.stderr).toBe(0);
  expect(over.stdout).toBe(direct.stdout);
  // One folder for each model, by its name.
  const folderOf = (out: string): string => path.join(out, readdirSync(out)[0]!);
  const [expected, found] = [readSamples(folderOf(local)), readSamples(folderOf(remote))];
  expect(found).toHaveLength(10);
  for (const [index, sample] of found.entries()) {
    const { acc, acc_norm } = expected[index]!;
    expect(sample).toMatchObject({ acc, acc_norm });
    for (const [choice, [logLikelihood, isGreedy]] of sample.filtered_resps.entries()) {
      expect(Number(logLikelihood)).toBeCloseTo(Number(expected[index]!.filtered_resps[choice]![0]), 4);
      expect(isGreedy).toBe(expected[index]!.filtered_resps[choice]![1]);
    }
  }
  expect(JSON.parse(readFileOf(folderOf(remote), /^results_/))).toMatchObject({
    model_name: "pebble",
    config: { model: "local-completions", model_args: { base_url: served.url } },
  });
  expect(await served.stop()).toBe(0);
});
