import { monitorEventLoopDelay } from "node:perf_hooks";
import type { ClientHealth } from "../records/bench.ts";
import { summarise } from "./distribution.ts";

const watchIntervalMs = 5;
/** Shares and delays above which the client has measured itself. */
const maxCpuShare = 0.8;
const maxEventLoopDelayP99Ms = 50;
/** As inference-perf advises for the median of its schedule delay. */
const maxScheduleDelayP50Ms = 10;

/** Watches this process while it makes a load. */
export class ClientWatch {
  readonly #cpuBefore = process.cpuUsage();
  readonly #startedMs = performance.now();
  readonly #loop = monitorEventLoopDelay({ resolution: watchIntervalMs });

  constructor() {
    this.#loop.enable();
  }

  /**
   * @param scheduleDelaysMs sent − due of every request that nothing but the client held back; null without due times
   */
  end(scheduleDelaysMs: readonly number[] | null, numUnsent: number): ClientHealth {
    this.#loop.disable();
    const cpu = process.cpuUsage(this.#cpuBefore);
    const cpuShare = (cpu.user + cpu.system) / 1000 / (performance.now() - this.#startedMs);
    // The histogram holds the time between two looks, which are the interval apart at least.
    const measuredMs = this.#loop.count === 0 ? 0 : this.#loop.percentile(99) / 1e6;
    const eventLoopDelayP99Ms = Math.max(0, measuredMs - watchIntervalMs);
    const scheduleDelayMs = scheduleDelaysMs === null ? null : summarise(scheduleDelaysMs);
    const figures = { cpuShare, eventLoopDelayP99Ms, scheduleDelayMs, numUnsent };
    return { ...figures, faults: faultsOf(figures) };
  }
}

function faultsOf({
  cpuShare,
  eventLoopDelayP99Ms,
  scheduleDelayMs,
  numUnsent,
}: Omit<ClientHealth, "faults">): string[] {
  const faults: string[] = [];
  if (cpuShare > maxCpuShare) faults.push(`the client used ${(100 * cpuShare).toFixed(0)} % of a core`);
  if (eventLoopDelayP99Ms > maxEventLoopDelayP99Ms)
    faults.push(`the client's event loop was ${eventLoopDelayP99Ms.toFixed(0)} ms late (p99)`);
  const lateMs = scheduleDelayMs?.p50 ?? 0;
  if (lateMs > maxScheduleDelayP50Ms) faults.push(`requests left ${lateMs.toFixed(0)} ms late (median)`);
  if (numUnsent > 0) faults.push(`${numUnsent} requests were due and not sent`);
  return faults;
}
