import type { Clock } from "../base/clock.ts";
import type { EngineClient, EngineStats } from "../protocol/engine-client.ts";

export interface EngineHealth {
  readonly isHealthy: boolean;
  readonly reason: string | null;
}

/** How long a caller waits for fresh numbers before it takes the last known ones. */
const answerTimeoutMs = 1_000;

/**
 * Asks one engine for its numbers, at most one question at a time. An engine that is in the middle of a long step
 * may answer late; only one that stays silent, or whose step takes longer than the limit, counts as ill.
 */
export class EngineProbe {
  readonly #client: EngineClient;
  readonly #clock: Clock;
  readonly #unhealthyAfterMs: number;
  #last: EngineStats | null = null;
  #failure: string | null = null;
  #pending: { readonly since: number; readonly answer: Promise<void> } | null = null;

  constructor(client: EngineClient, clock: Clock, unhealthyAfterMs: number) {
    this.#client = client;
    this.#clock = clock;
    this.#unhealthyAfterMs = unhealthyAfterMs;
  }

  /** Fresh numbers, or the last known ones when the engine takes its time; null before the first answer. */
  async stats(): Promise<EngineStats | null> {
    this.#pending ??= { since: this.#clock.now(), answer: this.#ask() };
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, answerTimeoutMs);
    });
    await Promise.race([this.#pending.answer, timeout]);
    clearTimeout(timer);
    return this.#last;
  }

  async health(): Promise<EngineHealth> {
    const stats = await this.stats();
    if (this.#failure !== null) return { isHealthy: false, reason: this.#failure };
    const silentMs = this.#pending === null ? 0 : this.#clock.now() - this.#pending.since;
    const stepMs = Math.max(silentMs, stats?.lastStepAgeMs ?? 0);
    if (stepMs <= this.#unhealthyAfterMs) return { isHealthy: true, reason: null };
    return { isHealthy: false, reason: `no step has ended for ${Math.round(stepMs / 1000)} s` };
  }

  async #ask(): Promise<void> {
    try {
      this.#last = await this.#client.stats();
      this.#failure = null;
    } catch (error) {
      this.#failure = error instanceof Error ? error.message : String(error);
    } finally {
      this.#pending = null;
    }
  }
}
