import { afterAll, describe, expect, test } from "vitest";
import { endProcesses, pebble, runCli, startServe, untilReady } from "./run-cli.ts";

afterAll(endProcesses);

describe("millrace serve", () => {
  test("answers a completion and ends with 0 on SIGTERM", async () => {
    const server = await startServe(pebble, "--port", "0");
    await untilReady(server.url);
    const response = await fetch(`${server.url}/v1/completions`, {
      method: "POST",
      body: JSON.stringify({ prompt: "Mia has a red", max_tokens: 4, temperature: 0 }),
    });
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({
      object: "text_completion",
      model: "pebble",
      usage: { completion_tokens: 4 },
    });
    expect(await server.stop()).toBe(0);
    expect(server.log()).toContain("SIGTERM");
  });

  test("ends on SIGTERM also when it has answered in a form, which starts threads", async () => {
    const server = await startServe(pebble, "--port", "0");
    await untilReady(server.url);
    const response = await fetch(`${server.url}/v1/completions`, {
      method: "POST",
      body: JSON.stringify({ prompt: "a", max_tokens: 4, structured_outputs: { choice: ["red", "blue"] } }),
    });
    const { choices } = (await response.json()) as { readonly choices: readonly { readonly text: string }[] };
    expect(["red", "blue"]).toContain(choices[0]!.text);
    expect(await server.stop()).toBe(0);
  });

  test("refuses a taken port before it loads the model", async () => {
    const server = await startServe(pebble, "--port", "0");
    const second = await runCli("serve", pebble, "--port", server.port);
    expect(second.exitCode).toBe(3);
    expect(second.stderr).toMatch(/^millrace: .*--port.*\[port_in_use\]\n$/);
    expect(second.stderr).toContain(server.port);
    expect(await server.stop()).toBe(0);
  });
});
