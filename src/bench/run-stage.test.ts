import { afterEach, expect, test, vi } from "vitest";
import { runClosedStage } from "./closed-loop.ts";
import { ServerWatch } from "./server-watch.ts";

afterEach(() => {
  vi.useRealTimers();
});

test("a load that is stopped leaves no timer that keeps the process alive", async () => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  const stopped = new Error("stopped");
  const stage = runClosedStage(
    { concurrency: 1, numRequests: 1, minSeconds: 0 },
    {
      client: { numThreads: 1, run: () => Promise.reject(stopped) },
      firstIndex: 0,
      maxSeconds: null,
      targets: [],
      watchServer: () => Promise.resolve(new ServerWatch([{ url: "http://127.0.0.1:9" }], true, null)),
    },
  );
  await expect(stage).rejects.toBe(stopped);
  expect(vi.getTimerCount()).toBe(0);
});
