import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test, vi } from "vitest";
import { firstModelOf, tokenizeRemotely } from "./served-models.ts";

/** A server whose answers begin and do not end; half a minute passes with each. */
async function listen(): Promise<string> {
  const server = createServer((_, response) => {
    response.writeHead(200);
    response.write("{", () => vi.advanceTimersByTime(30_000));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test("an answer that has begun and does not end is given up after half a minute", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  onTestFinished(() => void vi.useRealTimers());
  const endpoint = { url: await listen() };
  const late = { code: "endpoint_unreachable", message: expect.stringContaining("in 30 s") as string };
  await expect(firstModelOf(endpoint)).rejects.toMatchObject(late);
  await expect(tokenizeRemotely(endpoint, { model: "m", prompt: "a" })).rejects.toMatchObject(late);
});
