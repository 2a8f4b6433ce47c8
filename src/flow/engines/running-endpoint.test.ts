import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test, vi } from "vitest";
import { RunningEndpoint } from "./running-endpoint.ts";

/** A server that runs already, and the controller of what is asked of it. */
async function measured(
  listener: RequestListener,
): Promise<{ readonly endpoint: RunningEndpoint; readonly stop: AbortController }> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const stop = new AbortController();
  const options = { readyTimeoutMs: 20_000, signal: stop.signal };
  return { endpoint: new RunningEndpoint(`http://127.0.0.1:${port}`, options), stop };
}

const breaking: RequestListener = (_, response) => {
  response.writeHead(200, { "content-length": "100" });
  response.write("{", () => response.destroy());
};

const endless: RequestListener = (_, response) => {
  response.writeHead(200);
  response.write("{");
};

test.each([
  ["broken", breaking],
  ["without end", endless],
])("one whose answers are %s is ready by their status", async (_name, listener) => {
  const { endpoint } = await measured(listener);
  expect(await endpoint.ready()).toBeNull();
});

test("one whose answers are broken tells nothing of itself", async () => {
  const { endpoint } = await measured(breaking);
  expect(await endpoint.kvCacheTokens()).toBeNull();
  expect(await endpoint.memoryPlan()).toBeNull();
  expect(await endpoint.version()).toMatch(/^http:[^ ]+$/);
});

test("one whose answers never end tells nothing of itself when the time is over", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  onTestFinished(() => void vi.useRealTimers());
  const { endpoint } = await measured((request, response) => {
    endless(request, response);
    vi.runAllTimers();
  });
  expect(await endpoint.version()).toMatch(/^http:[^ ]+$/);
  expect(await endpoint.kvCacheTokens()).toBeNull();
});

test("the signal ends what is asked of a server whose answers never end", async () => {
  const stopped = new Error("stopped");
  const { endpoint, stop } = await measured((request, response) => {
    endless(request, response);
    stop.abort(stopped);
  });
  await expect(endpoint.kvCacheTokens()).rejects.toBe(stopped);
  await expect(endpoint.version()).rejects.toBe(stopped);
});

test("a version is told where there is one", async () => {
  const { endpoint } = await measured((_, response) => response.end('{"version":"0.9.1"}'));
  expect(await endpoint.version()).toMatch(/^http:[^ ]+ \(version 0\.9\.1\)$/);
});
