import { afterEach, expect, test, vi } from "vitest";
import { madeUpStage } from "../../../tests/made-up-stage.ts";
import { MillraceError } from "../../base/errors.ts";
import { silentProgress } from "../../base/progress.ts";
import { parseSlo } from "../../records/slo.ts";
import type { SloSearchRecord } from "../../records/slo-search.ts";
import { BenchSession } from "../bench-session.ts";
import { runSloSearch } from "./run-slo-search.ts";

afterEach(() => {
  vi.restoreAllMocks();
});

test("an interruption keeps the probes that ended, and what they say", async () => {
  const controller = new AbortController();
  let numRun = 0;
  const run = (): Promise<object> => {
    numRun += 1;
    if (numRun === 3) controller.abort(new MillraceError("interrupted", "Stopped."));
    return Promise.resolve({ stage: madeUpStage(numRun, 100), records: [] });
  };
  const session = { run, close: () => Promise.resolve(), target: { model: "m" } };
  vi.spyOn(BenchSession, "open").mockResolvedValue(session as unknown as BenchSession);
  let kept: SloSearchRecord | null = null;
  const search = runSloSearch({
    endpoint: { url: "http://127.0.0.1:9" },
    slo: parseSlo("ttft_p50<=500ms"),
    variable: "concurrency",
    from: 1,
    to: 64,
    tolerance: 0.1,
    maxProbes: 9,
    requestsPerSeat: 1,
    minSeconds: 0,
    burstiness: 1,
    progress: silentProgress,
    signal: controller.signal,
    onEarlyEnd: (record: SloSearchRecord) => {
      kept = record;
    },
  } as unknown as Parameters<typeof runSloSearch>[0]);
  await expect(search).rejects.toMatchObject({ code: "interrupted" });
  expect(kept).toMatchObject({ best: 2, missedAt: null, stopped: "interrupted", isConfirmed: false });
  expect(kept!.probes.map(({ load }: { load: number }) => load)).toEqual([1, 2]);
});
