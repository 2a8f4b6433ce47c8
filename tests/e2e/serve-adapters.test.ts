import path from "node:path";
import { afterAll, expect, test } from "vitest";
import { attentionTargets, writeAdapter } from "../lora-adapter.ts";
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

test("serve takes adapters at its start and while it runs", async () => {
  const folder = makeFolder();
  const write = (name: string, seed: number): string =>
    writeAdapter(pebble, path.join(folder, name), { targets: attentionTargets, rank: 4, alpha: 16, seed });
  const [a, b] = [write("a", 1), write("b", 2)];
  const server = await startServe(pebble, "--port", "0", "--lora-modules", `a=${a}`, `b=${b}`);
  await untilReady(server.url);
  const post = async (route: string, body: object): Promise<Record<string, unknown>> => {
    const headers = { "content-type": "application/json" };
    const init = { method: "POST", body: JSON.stringify(body), headers };
    const response = await fetch(server.url + route, init);
    return (await response.json()) as Record<string, unknown>;
  };
  const answer = async (model: string): Promise<string> => {
    const body = { model, prompt: "The mill", max_tokens: 24, temperature: 0, ignore_eos: true };
    return JSON.stringify((await post("/v1/completions", body))["choices"]);
  };
  const answers = await Promise.all(["pebble", "a", "b"].map(answer));
  expect(new Set(answers).size).toBe(3);
  await post("/v1/load_lora_adapter", { lora_name: "again", lora_path: a });
  expect(await answer("again")).toBe(answers[1]);
  const { data } = (await (await fetch(`${server.url}/v1/models`)).json()) as { data: { id: string }[] };
  expect(data.map(({ id }) => id)).toEqual(["pebble", "a", "b", "again"]);
  await post("/v1/unload_lora_adapter", { lora_name: "a" });
  expect(await post("/v1/completions", { model: "a", prompt: "x" })).toMatchObject({
    error: { message: expect.stringContaining("`a` does not exist") },
  });
  expect(await server.stop()).toBe(0);
});

test("serve refuses adapters that contradict its flags before it loads anything", async () => {
  const both = await runCli("serve", pebble, "--lora-modules", "a=x", "a=y");
  expect([both.exitCode, both.stderr]).toEqual([2, expect.stringContaining("one name to two adapters")]);
  const unnamed = await runCli("serve", pebble, "--lora-modules", "x");
  expect([unnamed.exitCode, unnamed.stderr]).toEqual([2, expect.stringContaining("it takes name=path")]);
  const missing = await runCli("serve", pebble, "--port", "0", "--lora-modules", "a=/nowhere");
  expect([missing.exitCode, missing.stderr]).toEqual([2, expect.stringContaining("/nowhere")]);
});
