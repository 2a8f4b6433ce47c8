import { afterEach, expect, test, vi } from "vitest";
import { silentProgress } from "../../base/progress.ts";
import { BenchSession } from "../bench-session.ts";
import { runVersus } from "./run-versus.ts";

afterEach(() => {
  vi.restoreAllMocks();
});

test("a side that cannot be opened leaves no session of the other", async () => {
  const close = vi.fn(() => Promise.resolve());
  const unreachable = new Error("B is not there");
  vi.spyOn(BenchSession, "open")
    .mockResolvedValueOnce({ close } as unknown as BenchSession)
    .mockRejectedValueOnce(unreachable);
  const side = { endpoint: { url: "http://127.0.0.1:9" } } as Parameters<typeof runVersus>[0]["a"];
  const versus = runVersus({
    a: side,
    b: side,
    load: { kind: "closed", plan: { concurrency: 1, numRequests: 1, minSeconds: 0 } },
    margin: 0.02,
    effect: 0.05,
    firstRounds: 4,
    maxRounds: 4,
    progress: silentProgress,
  });
  await expect(versus).rejects.toBe(unreachable);
  expect(close).toHaveBeenCalledOnce();
});
