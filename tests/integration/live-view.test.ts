import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { get, type IncomingMessage } from "node:http";
import { createInterface } from "node:readline";
import { WebSocket } from "undici";
import { afterAll, expect, onTestFinished, test } from "vitest";
import { silentProgress } from "../../src/base/progress.ts";
import { watchFlow } from "../../src/cli/watch/live-view.ts";
import type { BenchStage } from "../../src/records/bench.ts";
import { makeFolder, removeFolders } from "../e2e/run-cli.ts";

afterAll(removeFolders);

/** Where distributions put the browser; the tests that need it are skipped where there is none. */
const browser = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((file) =>
  existsSync(file),
);

const stage = (concurrency: number, outputTokensPerSecond: number) =>
  ({
    concurrency,
    meanInFlight: concurrency,
    requestsPerSecond: 1,
    outputTokensPerSecond,
    tpotMs: { count: 9, mean: 10, p50: 10 * concurrency, p90: 11, p95: 12, p99: 13, weak: [] },
  }) as unknown as BenchStage;

async function runningView() {
  const view = await watchFlow("a <small> model");
  onTestFinished(() => view.close());
  const progress = view.follow(silentProgress);
  progress.start("[2/5] base, round 1: load, 4 in flight", 40);
  for (const done of [5, 10, 20]) progress.update(done, `${done} requests`);
  progress.finish("4 in flight: 120.0 output tokens/s");
  for (const name of ["base", "w8a8"]) {
    for (const users of [1, 4]) view.addStage(name, stage(users, users * 50));
  }
  return view;
}

test("the page's stream brings the current stage, what is left, and plots with every variant", async () => {
  const view = await runningView();
  const response = await fetch(`${view.url}events`);
  const reader = response.body!.getReader();
  const { value } = await reader.read();
  await reader.cancel();
  const fragment = JSON.parse(
    Buffer.from(value!)
      .toString()
      .replace(/^data: /, ""),
  ) as string;
  expect(fragment).toContain("a &lt;small&gt; model");
  expect(fragment).toMatch(/\[2\/5\] base, round 1: load, 4 in flight: 20 of 40, \d+ ms left\. 20 requests/);
  expect(fragment).toContain("● w8a8");
  expect(fragment).toContain("4 in flight: 120.0 output tokens/s");
  expect((await fetch(`${view.url}nothing`)).status).toBe(404);
});

test("pages of other sites are kept away, by their name and by their origin", async () => {
  const view = await runningView();
  const { port, host } = new URL(view.url);
  const statusOf = async (path: string, headers: Record<string, string>): Promise<number> => {
    const request = get({ host: "127.0.0.1", port, path, headers });
    const [response] = (await once(request, "response")) as [IncomingMessage];
    response.destroy();
    return response.statusCode!;
  };
  for (const path of ["/", "/events"]) {
    for (const name of [host, `localhost:${port}`]) expect(await statusOf(path, { host: name })).toBe(200);
    expect(await statusOf(path, { host: `rebound.example:${port}` })).toBe(421);
    expect(await statusOf(path, { host, origin: `http://${host}` })).toBe(200);
    expect(await statusOf(path, { host, origin: "http://other.example" })).toBe(403);
  }
});

test.skipIf(browser === undefined)("a browser shows the plots as they come", async () => {
  const view = await runningView();
  const page = await openPage(view.url);
  const numPlots = () => page.evaluate<number>("document.querySelectorAll('#live svg').length");
  await expect.poll(numPlots, { timeout: 30_000 }).toBe(3);
  const numDots = () => page.evaluate<number>("document.querySelectorAll('#live svg circle.s1').length");
  expect(await numDots()).toBe(4);
  view.addStage("w8a8", stage(16, 900));
  await expect.poll(numDots, { timeout: 30_000 }).toBe(6);
  view.finish({ recommendation: { variant: "w8a8", text: "use it" } } as never);
  const advice = () => page.evaluate<string>("document.querySelector('.recommendation')?.textContent ?? ''");
  await expect.poll(advice, { timeout: 30_000 }).toBe("use it");
});

interface Page {
  /** The value of an expression in the page. */
  readonly evaluate: <T>(expression: string) => Promise<T>;
}

/** Opens a page in a browser without a window, by its DevTools protocol. */
async function openPage(url: string): Promise<Page> {
  const profile = makeFolder();
  const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"];
  const child = spawn(browser!, [...flags, `--user-data-dir=${profile}`, url], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const ended = once(child, "exit");
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  let port = "";
  for await (const line of createInterface({ input: child.stderr })) {
    port = /^DevTools listening on ws:\/\/127\.0\.0\.1:(\d+)/.exec(line)?.[1] ?? "";
    if (port !== "") break;
  }
  const targets = (await (await fetch(`http://127.0.0.1:${port}/json/list`)).json()) as {
    readonly type: string;
    readonly webSocketDebuggerUrl: string;
  }[];
  const socket = new WebSocket(targets.find(({ type }) => type === "page")!.webSocketDebuggerUrl);
  await new Promise((resolve) => socket.addEventListener("open", resolve, { once: true }));
  let lastId = 0;
  const evaluate = async <T>(expression: string): Promise<T> => {
    lastId += 1;
    const id = lastId;
    const params = { expression, returnByValue: true };
    const answer = new Promise<T>((resolve) => {
      const onMessage = ({ data }: { readonly data: unknown }): void => {
        const message = JSON.parse(String(data)) as { id?: number; result: { result: { value: T } } };
        if (message.id !== id) return;
        socket.removeEventListener("message", onMessage);
        resolve(message.result.result.value);
      };
      socket.addEventListener("message", onMessage);
    });
    socket.send(JSON.stringify({ id, method: "Runtime.evaluate", params }));
    return answer;
  };
  return { evaluate };
}
