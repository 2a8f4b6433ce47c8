// A warm-up that fails says what came and what to do about it.
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, test } from "vitest";
import { runSweep } from "../../src/bench/sweep.ts";
import { loadOptions, loadSimulator } from "../simulated-load.ts";

let server: Server | null = null;

afterEach(() => {
  server?.closeAllConnections();
  server?.close();
  server = null;
});

test.each([
  [200, "text/html; charset=utf-8", /text\/html, no event stream\. .*correct the URL/],
  [401, "application/json", /HTTP 401.*--api-key/],
  [404, "application/json", /HTTP 404.*no model "m".*--model/],
  [429, "application/json", /HTTP 429.*when it has room/],
  [500, "application/json", /HTTP 500.*look at its log/],
])("status %i and %s", async (status, type, says) => {
  server = createServer((request, response) => {
    request.resume();
    response.writeHead(status, { "content-type": type }).end("<p>no</p>");
  });
  await new Promise<void>((resolve) => server!.listen(0, "127.0.0.1", resolve));
  const load = runSweep({
    ...loadOptions(`http://127.0.0.1:${(server.address() as AddressInfo).port}`),
    model: "m",
    concurrencies: [1],
    numWarmup: 1,
  });
  await expect(load).rejects.toThrow(says);
});

test("what a server says ends as a sentence before what to do", async () => {
  server = createServer((_request, response) => {
    response.writeHead(401).end('{"error":{"message":"Invalid API key: sk-****abcd"}}');
  });
  await new Promise<void>((resolve) => server!.listen(0, "127.0.0.1", resolve));
  const load = runSweep({
    ...loadOptions(`http://127.0.0.1:${(server.address() as AddressInfo).port}`),
    concurrencies: [1],
  });
  await expect(load).rejects.toThrow(/answered 401: Invalid API key: sk-\*{4}abcd\. Check the URL/);
});

const good = { numTokens: 4, ttftMs: 2, itlMs: 1 };
const full = { status: 429, retryAfter: 0.3 };

test("a server without room is asked again as it wishes, while --ready-timeout lasts", async () => {
  const options = { concurrencies: [1], numWarmup: 1 };
  const waited = await loadSimulator([full, full, good, good], { ...options, readyTimeoutMs: 30_000 });
  expect(waited.error).toBeNull();
  expect(waited.stages[0]).toMatchObject({ numErrors: 0 });
  const refused = await loadSimulator([full, good], { ...options, readyTimeoutMs: 200 });
  expect(String(refused.error)).toMatch(
    /HTTP 429.* or wait for that with --ready-timeout, which is 0\.2 s now \(it asks for 0\.3 s\)\.$/,
  );
});
