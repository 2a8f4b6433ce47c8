import { afterEach, expect, test, vi } from "vitest";
import { madeUpStage } from "../../../tests/made-up-stage.ts";
import { MillraceError } from "../../base/errors.ts";
import { silentProgress } from "../../base/progress.ts";
import type { VersusRecord } from "../../records/versus.ts";
import { BenchSession } from "../bench-session.ts";
import { runVersus, type VersusOptions } from "./run-versus.ts";

afterEach(() => {
  vi.restoreAllMocks();
});

// Random ids need nothing of a server.
const side = { endpoint: { url: "http://127.0.0.1:9" }, vocabSize: 100 } as VersusOptions["a"];
const fourRounds: VersusOptions = {
  a: side,
  b: side,
  load: { kind: "closed", plan: { concurrency: 1, numRequests: 1, minSeconds: 0 } },
  margin: 0.02,
  effect: 0.05,
  firstRounds: 4,
  maxRounds: 4,
  progress: silentProgress,
};

test("a side that cannot be opened leaves no session of the other", async () => {
  const close = vi.fn(() => Promise.resolve());
  const unreachable = new Error("B is not there");
  vi.spyOn(BenchSession, "open")
    .mockResolvedValueOnce({ close } as unknown as BenchSession)
    .mockRejectedValueOnce(unreachable);
  const versus = runVersus(fourRounds);
  await expect(versus).rejects.toBe(unreachable);
  expect(close).toHaveBeenCalledOnce();
});

function sessionThat(run: () => Promise<object>): BenchSession {
  const describeWorkload = (): object => ({ promptForm: "token-ids" });
  const session = { run, close: () => Promise.resolve(), target: { model: "m" }, describeWorkload };
  return session as unknown as BenchSession;
}

/** Two equal servers, of which the one of leg `numLegs` is interrupted; gives the record of what was whole. */
async function interruptedAfter(numLegs: number): Promise<VersusRecord | null> {
  const controller = new AbortController();
  let numRun = 0;
  const run = (): Promise<object> => {
    numRun += 1;
    if (numRun > numLegs) controller.abort(new MillraceError("interrupted", "Stopped."));
    return Promise.resolve({ stage: madeUpStage(1, 100 + numRun), records: [] });
  };
  vi.spyOn(BenchSession, "open").mockResolvedValue(sessionThat(run));
  let kept: VersusRecord | null = null;
  const versus = runVersus({
    ...fourRounds,
    signal: controller.signal,
    onEarlyEnd: (record) => {
      kept = record;
    },
  });
  await expect(versus).rejects.toMatchObject({ code: "interrupted" });
  return kept;
}

test("an interruption keeps what the whole rounds said, marked as that", async () => {
  const record = await interruptedAfter(9);
  expect(record).toMatchObject({ endedEarly: "interrupted", a: { model: "m" }, margin: 0.02 });
  expect(record!.legs).toHaveLength(9);
  expect(record!.rows[0]).toMatchObject({ metric: "outputTokensPerSecond", numRounds: 2 });
  expect(await interruptedAfter(3)).toBeNull();
});

test("rounds in which requests were cut off are left out, as the means of the others hide the slowest", async () => {
  const stage = { ...madeUpStage(1, 100), numCensored: 2 };
  const run = (): Promise<object> => Promise.resolve({ stage, records: [] });
  vi.spyOn(BenchSession, "open").mockResolvedValue(sessionThat(run));
  const { rows, faults } = await runVersus(fourRounds);
  expect(rows).toEqual([]);
  expect(faults[0]).toBe("round 1, A: 2 requests cut off by --max-seconds");
});
