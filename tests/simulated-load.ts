import { silentProgress } from "../src/base/progress.ts";
import type { RateLoad } from "../src/bench/open-loop.ts";
import { runSweep, type SweepOptions } from "../src/bench/sweep.ts";
import type { BenchRecord, BenchStage, RateStage, RequestRecord } from "../src/records/bench.ts";
import { type LogEntry, type Script, startSimulator } from "./bench-simulator/start-simulator.mjs";

export const inputTokens = 8;

/** What a load against the scripted server brought, from its two sides. */
export interface SimulatedLoad {
  readonly stages: readonly (BenchStage | RateStage)[];
  readonly records: readonly RequestRecord[];
  /** The server's log of the load without the warm-up, in order of arrival. */
  readonly log: readonly LogEntry[];
  /** What the load ended with; null where it ended well. */
  readonly error: unknown;
  readonly record: BenchRecord | null;
}

/** Sends everything that comes at once, which is a stage with the least to decide. */
export function atOnce(numRequests: number): RateLoad {
  const arrivals = { kind: "rate" as const, requestRate: Number.POSITIVE_INFINITY, burstiness: 1 };
  return { arrivals, numRequests, maxConcurrency: null };
}

/** A load of short prompts for a server at this address, without warm-up. */
export function loadOptions(url: string) {
  return {
    endpoint: { url },
    model: null,
    concurrencies: [],
    requestsPerSeat: 1,
    minRequests: 1,
    minSeconds: 0,
    inputTokens,
    outputTokens: 4,
    numWarmup: 0,
    seed: 1,
    vocabSize: 1000,
    progress: silentProgress,
  };
}

/** Starts the scripted server, loads it, and stops it. One request of warm-up, unless `more` says otherwise. */
export async function loadSimulator(
  scripts: readonly Script[],
  more: Partial<SweepOptions> & { readonly readyAfterMs?: number } = {},
): Promise<SimulatedLoad> {
  const { readyAfterMs = 0, ...options } = more;
  const simulator = await startSimulator({ scripts, readyAfterMs });
  const stages: (BenchStage | RateStage)[] = [];
  const records: RequestRecord[] = [];
  let record: BenchRecord | null = null;
  let error: unknown = null;
  const { numWarmup = 0 } = options;
  try {
    await runSweep({
      ...loadOptions(simulator.url),
      outputTokens: scripts[0]!.numTokens ?? 1,
      onStage: (stage, own) => {
        stages.push(stage);
        records.push(...own);
      },
      onRecord: (made) => (record = made),
      ...options,
    }).catch((caught: unknown) => (error = caught));
    const log = (await simulator.log()).slice(numWarmup);
    records.sort((a, b) => a.index - b.index || a.turn - b.turn);
    return { stages, records, log, error, record };
  } finally {
    await simulator.stop();
  }
}
