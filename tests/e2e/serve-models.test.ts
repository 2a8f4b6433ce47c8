import { cpSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import { repositoryPath } from "../test-data.ts";
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

const draft = repositoryPath("models", "pebble", "draft");

test("several models share a budget, sleep and wake, and answer as alone", async () => {
  const budget = [
    "--kv-cache-memory-bytes",
    "8MiB",
    "--max-num-batched-tokens",
    "128",
    "--max-num-seqs",
    "8",
  ];
  const server = await startServe(
    pebble,
    "--port",
    "0",
    "--models",
    `small=${draft}`,
    "--max-model-memory",
    "40MiB",
    ...budget,
  );
  await untilReady(server.url);
  const post = async (route: string, body: object = {}): Promise<Record<string, unknown>> => {
    const headers = { "content-type": "application/json" };
    const init = { method: "POST", body: JSON.stringify(body), headers };
    const response = await fetch(server.url + route, init);
    return (await response.json()) as Record<string, unknown>;
  };
  const ask = async (model: string): Promise<string> => {
    const body = { model, prompt: "Mia has a", max_tokens: 12, temperature: 0 };
    return JSON.stringify((await post("/v1/completions", body))["choices"]);
  };
  const states = async (): Promise<string[]> => {
    const { data } = (await (await fetch(`${server.url}/v1/models`)).json()) as {
      data: { status: { value: string } }[];
    };
    return data.map(({ status }) => status.value);
  };
  // The second was loaded last, and there is room for one of them.
  expect(await states()).toEqual(["unloaded", "loaded"]);
  const first = await ask("pebble");
  expect(await states()).toEqual(["loaded", "unloaded"]);
  const second = await ask("small");
  expect(first).not.toBe(second);
  expect([await ask("pebble"), await ask("small")]).toEqual([first, second]);
  await post("/sleep");
  expect(await post("/v1/completions", { prompt: "x" })).toMatchObject({ error: { reason: "model_asleep" } });
  await post("/wake_up?model=pebble");
  expect(await ask("pebble")).toBe(first);
  for (const line of [
    "Loading the model small from",
    "small is unloaded",
    "small is loaded",
    "pebble is asleep",
  ])
    expect(server.log()).toContain(line);
  expect(await server.stop()).toBe(0);
});

test("a model that can never fit the budget is refused at the start", async () => {
  const { exitCode, stderr } = await runCli("serve", pebble, "--port", "0", "--max-model-memory", "1MiB");
  expect(exitCode).toBe(4);
  expect(stderr).toContain("--max-model-memory allows");
});

test("one name for two models is refused before anything is loaded", async () => {
  const loras = ["--lora-modules", "a=x"];
  for (const flags of [
    ["--models", `pebble=${draft}`],
    ["--models", `b=${draft}`, "--models", `b=${pebble}`],
    ["--served-model-name", "a", ...loras],
    [...loras, "--models", `a=${draft}`],
  ]) {
    const { exitCode, stderr } = await runCli("serve", pebble, "--port", "0", ...flags);
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining("a request could not choose")]);
    expect(stderr).not.toContain("Listening");
  }
});

test("a model that cannot be loaded ends the server, whatever was loaded before it", async () => {
  const models = ["--models", `small=${draft}`, "--models", "none=nowhere"];
  const { exitCode, stderr } = await runCli("serve", pebble, "--port", "0", ...models);
  expect([exitCode, stderr]).toEqual([3, expect.stringContaining("There is nothing at nowhere")]);
});

test("a further model does without a length that it was not made for", async () => {
  const folder = makeFolder();
  cpSync(draft, folder, { recursive: true });
  const file = path.join(folder, "config.json");
  const config = JSON.parse(readFileSync(file, "utf8")) as object;
  writeFileSync(file, JSON.stringify({ ...config, max_position_embeddings: 512 }));
  const flags = ["--models", `short=${folder}`, "--max-model-len", "1024"];
  const server = await startServe(pebble, "--port", "0", ...flags);
  await untilReady(server.url);
  const { data } = (await (await fetch(`${server.url}/v1/models`)).json()) as {
    data: { id: string; max_model_len: number }[];
  };
  expect(data.map((model) => [model.id, model.max_model_len])).toEqual([
    ["pebble", 1024],
    ["short", 512],
  ]);
  expect(server.log()).toContain(
    "--max-model-len 1,024 is not for it: short was made for at most 512 positions",
  );
  expect(await server.stop()).toBe(0);
});
