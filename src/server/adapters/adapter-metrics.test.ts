import { expect, test } from "vitest";
import { createServedFake, replying } from "../../../tests/served-fake.ts";
import type { AdapterHost } from "../../protocol/engine-client.ts";
import { createServerApp } from "../app.ts";
import { ServerContext } from "../server-context.ts";
import { adapterModel } from "./adapter-model.ts";

/** Promises to be resolved by hand. */
function gates(count: number) {
  return Array.from({ length: count }, () => {
    let open = (): void => {};
    const passed = new Promise<void>((resolve) => {
      open = resolve;
    });
    return { open, passed };
  });
}

test("adapters are told by whether their sequences have a token, and no longer than they are open", async () => {
  const [first, second] = gates(2);
  const host: AdapterHost = {
    initial: [],
    maxNumAdapters: 3,
    load: () => Promise.reject(new Error("never")),
    unload: () => Promise.resolve(),
  };
  const { model } = createServedFake({
    ...replying("hello"),
    adapters: host,
    hold: (_, index) => [first!.passed, second!.passed][index],
  });
  const models = [model, adapterModel(model, "sql"), adapterModel(model, "poems")];
  const context = new ServerContext({ models });
  const app = createServerApp(context);
  const ask = async (name: string): Promise<number> => {
    const body = JSON.stringify({ model: name, prompt: "x", max_tokens: 5 });
    const response = await app.request("/v1/completions", { method: "POST", body });
    await response.text();
    return response.status;
  };
  const info = async () => {
    const lines = (await context.metrics.expose()).matchAll(/^vllm:lora_requests_info\{(.*)\} (\S+)$/gm);
    return [...lines].map(([, labels, seconds]) => [
      ...["max_lora", "waiting_lora_adapters", "running_lora_adapters", "model_name"].map(
        (name) => new RegExp(`${name}="([^"]*)"`).exec(labels!)?.[1],
      ),
      Math.abs(Number(seconds) - Date.now() / 1000) < 60,
    ]);
  };
  const until = (state: readonly unknown[]): Promise<void> =>
    expect.poll(info, { timeout: 20_000 }).toEqual([state]);
  await until(["3", "", "", "fake", true]);
  const asked = ["sql", "fake", "poems", "sql"].map(ask);
  await until(["3", "poems,sql", "", "fake", true]);
  first!.open();
  await until(["3", "", "poems,sql", "fake", true]);
  second!.open();
  expect(await Promise.all(asked)).toEqual([200, 200, 200, 200]);
  await until(["3", "", "", "fake", true]);
});

test("an engine without adapters says nothing of them", async () => {
  const context = new ServerContext({ models: [createServedFake().model] });
  expect(await context.metrics.expose()).not.toMatch(/^vllm:lora_requests_info\{/m);
});
