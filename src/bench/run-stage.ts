import type { RequestRecord } from "../records/bench.ts";
import type { LoadFigures } from "../records/load-figures.ts";
import { clientHealth } from "./client-watch.ts";
import type { GoodputTarget } from "./figures/goodput.ts";
import { loadFigures } from "./load-figures.ts";
import { type LoadShare, numDueBy, type ShareOutcome } from "./load-share.ts";
import type { ServerWatch } from "./server-watch.ts";

/** Where shares of a load are sent from. */
export interface LoadClient {
  /** Shares that it takes at most. */
  readonly numThreads: number;
  run(shares: readonly LoadShare[], onRequest?: (done: number) => void): Promise<ShareOutcome[]>;
}

/** What a stage is given, whatever its kind. */
export interface StageTools {
  readonly client: LoadClient;
  /** First conversation of the stage, so that no stage repeats another's prompts. */
  readonly firstIndex: number;
  /** Cuts the stage off after so many seconds; null waits for every answer. */
  readonly maxSeconds: number | null;
  readonly targets: readonly GoodputTarget[];
  readonly watchServer: () => Promise<ServerWatch>;
  readonly onRequest?: ((done: number) => void) | undefined;
}

export interface StageOutcome<S> {
  readonly stage: S;
  readonly records: readonly RequestRecord[];
  /** First conversation that the stage did not use. */
  readonly nextIndex: number;
}

/** What the shares of a stage brought together. */
export interface LoadOutcome {
  readonly figures: LoadFigures;
  readonly records: readonly RequestRecord[];
  readonly becameClosed: boolean;
  readonly nextIndex: number;
}

interface StageLoad {
  /** Makes the share of thread `thread` of `numThreads`. */
  readonly shareOf: (base: ShareBase, thread: number, numThreads: number) => LoadShare;
  /** Shares that it can be parted into: as many as may be in flight, so that each has room for one; null for any. */
  readonly maxShares: number | null;
  readonly usersAtOnce: number | null;
  /** When its requests are due, ascending, and over how long; null where answers decide. */
  readonly schedule: { readonly dueMs: Float64Array; readonly wholeMs: number } | null;
}

export type ShareBase = Pick<LoadShare, "firstIndex" | "stride" | "cutMs">;

/** Runs a load from all threads of the client and makes one stage's figures of it. */
export async function runLoad(load: StageLoad, tools: StageTools): Promise<LoadOutcome> {
  const { client, firstIndex, maxSeconds, targets, onRequest } = tools;
  const numThreads = Math.min(client.numThreads, load.maxShares ?? client.numThreads);
  const serverWatch = await tools.watchServer();
  const shares = Array.from({ length: numThreads }, (_, thread) =>
    load.shareOf(
      {
        firstIndex: firstIndex + thread,
        stride: numThreads,
        cutMs: maxSeconds === null ? null : maxSeconds * 1000,
      },
      thread,
      numThreads,
    ),
  );
  const outcomes = await client.run(shares, onRequest).catch((error: unknown) => {
    // Its timer would keep the process alive.
    serverWatch.stop();
    throw error;
  });
  const records = outcomes.flatMap((outcome) => outcome.records).sort((a, b) => a.endMs - b.endMs);
  // Reading the answers is not part of the stage.
  const lastMs = Math.max(records.at(-1)?.endMs ?? 0, load.schedule === null ? 0 : lastSentMs(records), 1e-3);
  const numBegun = outcomes.reduce((sum, outcome) => sum + outcome.numBegun, 0);
  const isWhole = load.schedule === null || numBegun === load.schedule.dueMs.length;
  // A schedule that was cut lasted until then, whether anything was in flight or not.
  const durationMs = isWhole || maxSeconds === null ? lastMs : Math.max(lastMs, 1000 * maxSeconds);
  const { server, serverProcess } = await serverWatch.end(records);
  const isOpen = load.schedule !== null;
  const health = clientHealth(
    outcomes.map((outcome) => outcome.health),
    isOpen ? outcomes.flatMap(({ delaysMs }) => delaysMs) : null,
    {
      numUnsent: outcomes.reduce((sum, { numUnsent }) => sum + numUnsent, 0),
      hasAnswers: records.some(({ error }) => error === null),
    },
  );
  const { usersAtOnce, schedule } = load;
  const offered = schedule === null ? null : offeredOf(schedule, { numBegun, durationMs });
  const context = { durationMs, client: health, usersAtOnce, offered, targets, server, serverProcess };
  return {
    figures: loadFigures(records, context),
    records,
    becameClosed: outcomes.some((outcome) => outcome.becameClosed),
    nextIndex:
      firstIndex + numThreads * Math.max(...outcomes.map(({ numBegun, numUnsent }) => numBegun + numUnsent)),
  };
}

/** What was due and not sent by the end, and over how long requests were due: the end where not all were. */
function offeredOf(
  { dueMs, wholeMs }: NonNullable<StageLoad["schedule"]>,
  { numBegun, durationMs }: { readonly numBegun: number; readonly durationMs: number },
): { readonly ms: number; readonly numUnsent: number } {
  if (numBegun === dueMs.length) return { ms: wholeMs, numUnsent: 0 };
  return { ms: durationMs, numUnsent: Math.max(0, numDueBy(dueMs, durationMs) - numBegun) };
}

function lastSentMs(records: readonly RequestRecord[]): number {
  return records.reduce((last, { sentMs }) => Math.max(last, sentMs), 0);
}
