import type { Logger } from "../base/logger.ts";
import type { EngineStats } from "../protocol/engine-client.ts";
import type { ModelRegistry } from "./served-model.ts";

const intervalMs = 10_000;

/** vLLM's periodic line, while there is work: throughput since the last line, queue lengths, KV usage. */
export class StatsLog {
  readonly #models: ModelRegistry;
  readonly #logger: Logger;
  readonly #timer: NodeJS.Timeout;
  readonly #last = new Map<string, { readonly atMs: number; readonly stats: EngineStats }>();

  constructor(models: ModelRegistry, logger: Logger) {
    this.#models = models;
    this.#logger = logger;
    this.#timer = setInterval(() => {
      this.#write().catch((error: unknown) => logger.error("statistics could not be read", { error }));
    }, intervalMs);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async #write(): Promise<void> {
    for (const [index, model] of this.#models.models.entries()) {
      const stats = await model.client.stats();
      const atMs = performance.now();
      const before = this.#last.get(model.id);
      this.#last.set(model.id, { atMs, stats });
      const seconds = (atMs - (before?.atMs ?? atMs - intervalMs)) / 1000;
      const prompt = stats.promptTokens - (before?.stats.promptTokens ?? 0);
      const generation = stats.generationTokens - (before?.stats.generationTokens ?? 0);
      if (prompt + generation + stats.numRunning + stats.numWaiting === 0) continue;
      const usage = 100 * (1 - stats.numFreeBlocks / stats.numTotalBlocks);
      this.#logger.info(
        `Engine ${String(index).padStart(3, "0")}: Avg prompt throughput: ${(prompt / seconds).toFixed(1)} tokens/s, Avg generation throughput: ${(generation / seconds).toFixed(1)} tokens/s, Running: ${stats.numRunning} reqs, Waiting: ${stats.numWaiting} reqs, KV cache usage: ${usage.toFixed(1)}%`,
      );
    }
  }
}
