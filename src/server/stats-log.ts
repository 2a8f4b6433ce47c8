import type { Clock } from "../base/clock.ts";
import type { Logger } from "../base/logger.ts";
import type { EngineStats } from "../protocol/engine-client.ts";
import type { EngineProbe } from "./engine-probe.ts";
import { speculationAdvice, speculationLine } from "./speculation-log.ts";

interface Watched {
  readonly probe: EngineProbe;
  last: { readonly stats: EngineStats; readonly at: number } | null;
}

/** Writes vLLM's line about throughput while an engine is busy, and one more when it has become idle. */
export class StatsLog {
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #intervalMs: number;
  #watched: readonly Watched[] = [];
  #timer: NodeJS.Timeout | null = null;

  constructor(logger: Logger, clock: Clock, intervalMs: number) {
    this.#logger = logger;
    this.#clock = clock;
    this.#intervalMs = intervalMs;
  }

  setModels(models: readonly { readonly probe: EngineProbe }[]): void {
    const known = new Map(this.#watched.map((watched) => [watched.probe, watched]));
    this.#watched = models.map(({ probe }) => known.get(probe) ?? { probe, last: null });
  }

  /** Called with every request; the timer runs only while there is something to tell. */
  start(): void {
    if (this.#timer !== null) return;
    this.#timer = setInterval(() => void this.#report(), this.#intervalMs);
    this.#timer.unref();
    for (const watched of this.#watched) void this.#mark(watched);
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  async #mark(watched: Watched): Promise<void> {
    const stats = await watched.probe.stats();
    if (stats !== null) watched.last = { stats, at: this.#clock.now() };
  }

  async #report(): Promise<void> {
    let isBusy = false;
    for (const [index, watched] of this.#watched.entries()) {
      const before = watched.last;
      await this.#mark(watched);
      const after = watched.last;
      if (before === null || after === null) continue;
      const isOpen = after.stats.numRunning + after.stats.numWaiting > 0;
      if (!isOpen && after.stats.numSteps === before.stats.numSteps) continue;
      isBusy = true;
      this.#write(index, before.stats, after.stats, (after.at - before.at) / 1000);
    }
    if (!isBusy) this.stop();
  }

  #write(index: number, before: EngineStats, after: EngineStats, seconds: number): void {
    this.#logger.info(statsLine(index, before, after, seconds));
    const preemption = preemptionAdvice(index, before, after);
    if (preemption !== null) this.#logger.warn(preemption);
    const fault = mismatchWarning(index, before, after);
    if (fault !== null) this.#logger.warn(fault);
    const guesses = speculationLine(before, after, seconds);
    if (guesses !== null) this.#logger.info(`${engineName(index)}: ${guesses}`);
    const advice = speculationAdvice(before, after);
    if (advice !== null) this.#logger.info(`${engineName(index)}: ${advice}`);
  }
}

function engineName(index: number): string {
  return `Engine ${String(index).padStart(3, "0")}`;
}

/** The line itself, with the words that scripts look for. */
export function statsLine(index: number, before: EngineStats, after: EngineStats, seconds: number): string {
  const rate = (total: number, earlier: number): string =>
    ((total - earlier) / Math.max(seconds, 1e-3)).toFixed(1);
  const usage = 100 * kvCacheUsage(after);
  const queries = after.prefixCacheQueries - before.prefixCacheQueries;
  const hitRate = queries === 0 ? 0 : (100 * (after.prefixCacheHits - before.prefixCacheHits)) / queries;
  return (
    `${engineName(index)}: ` +
    `Avg prompt throughput: ${rate(after.promptTokens, before.promptTokens)} tokens/s, ` +
    `Avg generation throughput: ${rate(after.generationTokens, before.generationTokens)} tokens/s, ` +
    `Running: ${after.numRunning} reqs, Waiting: ${after.numWaiting} reqs, KV cache usage: ${usage.toFixed(1)}%, ` +
    `Prefix cache hit rate: ${hitRate.toFixed(1)}%`
  );
}

/** What to do when sequences had to give way since the last line; null when none had to. */
export function preemptionAdvice(index: number, before: EngineStats, after: EngineStats): string | null {
  const since = (field: "numPreemptions" | "numSwappedBlocks" | "numRecomputedTokens"): number =>
    after[field] - before[field];
  const numPreemptions = since("numPreemptions");
  if (numPreemptions === 0) return null;
  const numRecomputed = since("numRecomputedTokens");
  const keep = numRecomputed > 0 ? "; a larger --swap-space lets them wait without computing again" : "";
  return (
    `${engineName(index)}: the KV cache was too small for what ran: ` +
    `${numPreemptions} preemptions, ${since("numSwappedBlocks")} blocks swapped out, ` +
    `${numRecomputed} tokens to compute again. ` +
    `Raise --kv-cache-memory-bytes or lower --max-num-seqs${keep}.`
  );
}

/** What the self-check of the prefix cache found since the last line; null when nothing, as it must be. */
export function mismatchWarning(index: number, before: EngineStats, after: EngineStats): string | null {
  const numMismatches = after.numPrefixMismatches - before.numPrefixMismatches;
  if (numMismatches === 0) return null;
  return (
    `${engineName(index)}: the check of the prefix cache found ${numMismatches} blocks that are not ` +
    "what was computed again. Answers under --check-prefix-cache do not use them; others may have. Restart with " +
    "--enable-prefix-caching off and report this with the log."
  );
}

/** Share of the blocks in use, 0 to 1. */
export function kvCacheUsage(stats: EngineStats): number {
  return stats.numTotalBlocks === 0 ? 0 : 1 - stats.numFreeBlocks / stats.numTotalBlocks;
}
