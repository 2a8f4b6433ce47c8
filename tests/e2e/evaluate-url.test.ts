import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
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

interface Sample {
  readonly doc_id: number;
  readonly filtered_resps: readonly (readonly [number, boolean])[];
  readonly metrics: Readonly<Record<string, number>>;
}

function readSamples(folder: string): Sample[] {
  const lines = readFileSync(path.join(folder, "samples_pebble.jsonl"), "utf8").trimEnd().split("\n");
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
  const [expected, found] = [readSamples(local), readSamples(remote)];
  expect(found).toHaveLength(10);
  for (const [index, sample] of found.entries()) {
    expect(sample.metrics).toEqual(expected[index]!.metrics);
    for (const [choice, [logLikelihood, isGreedy]] of sample.filtered_resps.entries()) {
      expect(logLikelihood).toBeCloseTo(expected[index]!.filtered_resps[choice]![0], 4);
      expect(isGreedy).toBe(expected[index]!.filtered_resps[choice]![1]);
    }
  }
  expect(JSON.parse(readFileSync(path.join(remote, "evaluation.json"), "utf8"))).toMatchObject({
    config: { model: "pebble", model_args: { base_url: served.url } },
  });
  expect(await served.stop()).toBe(0);
});

test("evaluate --url refuses a server that cannot score, before the first document", async () => {
  let numRequests = 0;
  const server = createServer((request, response) => {
    if (request.url === "/v1/models") {
      response.end(JSON.stringify({ data: [{ id: "chat-only" }] }));
      return;
    }
    numRequests += 1;
    response.end(JSON.stringify({ choices: [{ text: " and", logprobs: null }] }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const out = makeFolder();
  const run = await runCli("evaluate", pebble, "--url", url, ...tasks, "--out", path.join(out, "scores"));
  expect(run.exitCode).toBe(3);
  expect(run.stderr).toMatch(/echo and logprobs.*\[endpoint_failed\]\n$/);
  expect(run.stderr).not.toContain("evaluate pebble");
  expect(numRequests).toBe(1);
  server.close();
});
