import { afterAll, describe, expect, test } from "vitest";
import { repositoryPath } from "../test-data.ts";
import { childrenOf, endProcesses, freePort, pebble, startCli, startServe, untilReady } from "./run-cli.ts";

afterAll(endProcesses);

interface Answer {
  /** 0 where no answer came. */
  readonly status: number;
  readonly text: string;
  /** Whether the connection ended before the answer was complete. */
  readonly isCut: boolean;
}

async function ask(url: string, body: object): Promise<Answer> {
  let [status, text] = [0, ""];
  try {
    const common = { prompt: "Mia has", temperature: 1, ignore_eos: true };
    const response = await fetch(`${url}/v1/completions`, {
      method: "POST",
      body: JSON.stringify({ ...common, ...body }),
    });
    status = response.status;
    for await (const part of response.body!) text += Buffer.from(part as Uint8Array).toString();
    return { status, text, isCut: false };
  } catch {
    return { status, text, isCut: true };
  }
}

async function untilOpen(url: string, count: number): Promise<void> {
  for (let load = 0; load < count; ) {
    load = ((await (await fetch(`${url}/load`)).json()) as { server_load: number }).server_load;
  }
}

describe("SIGTERM under load", () => {
  test("loses no request that was accepted, and refuses those that come after", async () => {
    const server = await startServe(pebble, "--port", "0");
    await untilReady(server.url);
    const accepted = Array.from({ length: 40 }, (_, i) =>
      ask(server.url, { stream: i % 2 === 0, max_tokens: 600 + i }),
    );
    await untilOpen(server.url, 40);
    const stopped = server.stop();
    while (!server.log().includes("no new requests")) await new Promise((resolve) => setTimeout(resolve, 1));
    const late = await ask(server.url, { max_tokens: 1 });
    const answers = await Promise.all(accepted);
    expect(await stopped).toBe(0);
    for (const [i, { status, text, isCut }] of answers.entries()) {
      expect([status, isCut]).toEqual([200, false]);
      expect(text).toContain('"finish_reason":"length"');
      if (i % 2 === 0) expect(text.trim()).toMatch(/data: \[DONE\]$/);
      else expect(JSON.parse(text)).toMatchObject({ usage: { completion_tokens: 600 + i } });
    }
    // It found the server draining, or gone where the answers took less than its way.
    if (late.status !== 0)
      expect([late.status, late.text]).toEqual([503, expect.stringContaining("shutting down")]);
  });
});

describe("--restart", () => {
  const options = ["--max-model-len", "2048", "--restart"];

  /** Strikes while 20 clients wait for answers; resolves with those, once the server is back and well. */
  async function strikeUnderLoad(
    environment: Record<string, string>,
    signal: NodeJS.Signals,
  ): Promise<{ readonly answers: readonly Answer[]; readonly log: string; readonly backMs: number }> {
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const server = startCli({ env: environment }, "serve", pebble, "--port", port, ...options);
    await server.says(/Ready: pebble/);
    const open = Array.from({ length: 20 }, (_, i) => ask(url, { stream: i % 2 === 0, max_tokens: 1900 }));
    await untilOpen(url, 20);
    const [child] = childrenOf(server.pid);
    const struckAt = performance.now();
    process.kill(child!, signal);
    const answers = await Promise.all(open);
    await server.says(/it starts again in[^]*Ready: pebble/);
    await untilReady(url);
    const backMs = performance.now() - struckAt;
    expect(await ask(url, { max_tokens: 2 })).toMatchObject({ status: 200, isCut: false });
    server.interrupt();
    expect((await server.end).exitCode).toBe(0);
    return { answers, log: server.log(), backMs };
  }

  test("after a native crash clients see their connections end, and the server is back", async () => {
    const { answers, log, backMs } = await strikeUnderLoad({}, "SIGSEGV");
    process.stdout.write(`back ${(backMs / 1000).toFixed(1)} s after the crash\n`);
    expect(log).toContain("ended by SIGSEGV");
    for (const { text, isCut } of answers) {
      expect(isCut).toBe(true);
      expect(text).not.toContain("[DONE]");
    }
  });

  test.each(["exit", "throw"])(
    "after the engine's thread died (%s) clients are told why, and the server is back",
    async (fault) => {
      const preload = `--import ${new URL(`file://${repositoryPath("tests", "end-engine-thread.mjs")}`).href}`;
      const environment = { NODE_OPTIONS: preload, MILLRACE_TEST_FAULT: fault };
      const { answers, log, backMs } = await strikeUnderLoad(environment, "SIGUSR2");
      process.stdout.write(`back ${(backMs / 1000).toFixed(1)} s after the fault\n`);
      expect(log).toContain("The engine's thread died");
      for (const [i, { status, text, isCut }] of answers.entries()) {
        // A stream that has not begun can still say it by its status.
        expect(i % 2 === 0 ? [200, 500] : [500]).toContain(status);
        expect(isCut).toBe(false);
        expect(text).toContain('"reason":"engine_failed"');
      }
    },
  );
});
