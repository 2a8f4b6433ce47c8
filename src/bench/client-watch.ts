import { type IntervalHistogram, monitorEventLoopDelay } from "node:perf_hooks";
import type { ClientHealth } from "../records/load-figures.ts";
import { summarise } from "./distribution.ts";

const watchIntervalMs = 5;
/** Shares and delays above which the client has measured itself. */
const maxCpuShare = 0.8;
const maxEventLoopDelayP99Ms = 50;
/**
 * Longest time that a stage may stand still, as a process that was stopped does: a tenth of it, by which its throughput
 * is wrong, but no more than a second, which every answer then in flight has in its times.
 */
const maxStallShare = 0.1;
const maxStallMs = 1000;
/** A busy machine keeps any process waiting for so long now and then. */
const usualStallMs = 250;
/** As inference-perf advises for the median of its schedule delay. */
const maxScheduleDelayP50Ms = 10;

/** How one thread of the client fared. */
export interface ThreadHealth {
  readonly eventLoopDelayP99Ms: number;
  /** Its longest delay, of which a percentile shows nothing. */
  readonly longestStallMs: number;
  /** CPU seconds that the whole process used meanwhile. */
  readonly processCpuSeconds: number;
  /** Of these, what the thread spent in looking at the clock. */
  readonly waitSeconds: number;
  readonly seconds: number;
}

/** Watches this thread while it makes a load. */
export class ClientWatch {
  readonly #cpuBefore = process.cpuUsage();
  readonly #startedMs = performance.now();
  readonly #loop: IntervalHistogram = monitorEventLoopDelay({ resolution: watchIntervalMs });
  #waitMs = 0;

  constructor() {
    this.#loop.enable();
  }

  /** Takes time that went by in turns of an event loop with nothing to do. */
  addWait(milliseconds: number): void {
    this.#waitMs += milliseconds;
  }

  end(): ThreadHealth {
    this.#loop.disable();
    const cpu = process.cpuUsage(this.#cpuBefore);
    // The histogram holds the time between two looks, which are the interval apart at least.
    const delayMs = (nanoseconds: number): number =>
      this.#loop.count === 0 ? 0 : Math.max(0, nanoseconds / 1e6 - watchIntervalMs);
    return {
      eventLoopDelayP99Ms: delayMs(this.#loop.percentile(99)),
      longestStallMs: delayMs(this.#loop.max),
      processCpuSeconds: (cpu.user + cpu.system) / 1e6,
      waitSeconds: this.#waitMs / 1000,
      seconds: (performance.now() - this.#startedMs) / 1000,
    };
  }
}

/**
 * The client's verdict on itself, from its threads.
 *
 * @param scheduleDelaysMs sent − due of every request that nothing but the client held back; null without due times
 * @param hasAnswers without a single good answer there is nothing that a busy client could have made slower
 */
export function clientHealth(
  threads: readonly ThreadHealth[],
  scheduleDelaysMs: readonly number[] | null,
  { numUnsent, hasAnswers }: { readonly numUnsent: number; readonly hasAnswers: boolean },
): ClientHealth {
  const most = (pick: (thread: ThreadHealth) => number): number => Math.max(...threads.map(pick));
  const waited = threads.reduce((sum, { waitSeconds }) => sum + waitSeconds, 0);
  const busy = Math.max(0, most(({ processCpuSeconds }) => processCpuSeconds) - waited);
  const seconds = most((thread) => thread.seconds);
  const figures = {
    cpuShare: busy / seconds / threads.length,
    eventLoopDelayP99Ms: most(({ eventLoopDelayP99Ms }) => eventLoopDelayP99Ms),
    scheduleDelayMs: scheduleDelaysMs === null ? null : summarise(scheduleDelaysMs),
    numUnsent,
  };
  const requests = numUnsent === 1 ? "1 request was" : `${numUnsent} requests were`;
  const unsent = numUnsent > 0 ? [`${requests} due and not sent`] : [];
  const stalls = stallsOf(
    most(({ longestStallMs }) => longestStallMs),
    seconds,
  );
  return { ...figures, faults: [...(hasAnswers ? [...slownessOf(figures), ...stalls] : []), ...unsent] };
}

function stallsOf(longestMs: number, seconds: number): string[] {
  const allowedMs = Math.max(usualStallMs, Math.min(maxStallMs, maxStallShare * 1000 * seconds));
  return longestMs > allowedMs ? [`the client stood still for ${(longestMs / 1000).toFixed(1)} s`] : [];
}

function slownessOf({
  cpuShare,
  eventLoopDelayP99Ms,
  scheduleDelayMs,
}: Omit<ClientHealth, "faults">): string[] {
  const faults: string[] = [];
  if (cpuShare > maxCpuShare)
    faults.push(`the client used ${(100 * cpuShare).toFixed(0)} % of a core for each of its threads`);
  if (eventLoopDelayP99Ms > maxEventLoopDelayP99Ms)
    faults.push(`the client's event loop was ${eventLoopDelayP99Ms.toFixed(0)} ms late (p99)`);
  const lateMs = scheduleDelayMs?.p50 ?? 0;
  if (lateMs > maxScheduleDelayP50Ms) faults.push(`requests left ${lateMs.toFixed(0)} ms late (median)`);
  return faults;
}
