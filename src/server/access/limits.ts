import type { Clock } from "../../base/clock.ts";
import { MillraceError } from "../../base/errors.ts";
import { countOf, formatCount } from "../../base/units.ts";

/** How much of the server somebody may use; what is left out has no limit. */
export interface LimitSettings {
  readonly requestsPerSecond?: number;
  readonly requestsPerMinute?: number;
  /** Tokens of prompts and answers together. */
  readonly tokensPerSecond?: number;
  readonly tokensPerMinute?: number;
  /** Requests that are being answered at once. */
  readonly maxConcurrency?: number;
}

type Unit = "requests" | "tokens";

/** Holds as much as one period allows and fills up evenly; settling may leave it in debt. */
class Bucket {
  readonly unit: Unit;
  readonly capacity: number;
  readonly periodSeconds: number;
  readonly #clock: Clock;
  #level: number;
  #at: number;

  constructor(unit: Unit, capacity: number, periodSeconds: number, clock: Clock) {
    this.unit = unit;
    this.capacity = capacity;
    this.periodSeconds = periodSeconds;
    this.#clock = clock;
    this.#level = capacity;
    this.#at = clock.now();
  }

  get level(): number {
    const now = this.#clock.now();
    const gained = ((now - this.#at) / 1000) * (this.capacity / this.periodSeconds);
    this.#level = Math.min(this.capacity, this.#level + gained);
    this.#at = now;
    return this.#level;
  }

  /** Seconds until `amount` can be taken; 0 = now. What is more than a whole period allows waits for a full one. */
  waitFor(amount: number): number {
    const missing = Math.min(amount, this.capacity) - this.level;
    return missing <= 0 ? 0 : (missing * this.periodSeconds) / this.capacity;
  }

  /** @param amount below 0 gives back */
  take(amount: number): void {
    this.#level = Math.min(this.capacity, this.level - amount);
  }
}

/** One holder of limits: a key, or the whole server. */
export class Limits {
  /** Whose they are, as an error names it. */
  readonly #owner: string;
  readonly #buckets: readonly Bucket[];
  readonly #maxConcurrency: number;
  #numOpen = 0;

  constructor(owner: string, settings: LimitSettings, clock: Clock) {
    this.#owner = owner;
    this.#maxConcurrency = settings.maxConcurrency ?? Number.POSITIVE_INFINITY;
    const asked: readonly (readonly [Unit, number | undefined, number])[] = [
      ["requests", settings.requestsPerSecond, 1],
      ["requests", settings.requestsPerMinute, 60],
      ["tokens", settings.tokensPerSecond, 1],
      ["tokens", settings.tokensPerMinute, 60],
    ];
    this.#buckets = asked.flatMap(([unit, capacity, seconds]) =>
      capacity === undefined ? [] : [new Bucket(unit, capacity, seconds, clock)],
    );
  }

  /** Errors: `rate_limited` where the request would have to wait. */
  checkRequest(): void {
    if (this.#numOpen >= this.#maxConcurrency) {
      const most = `${countOf(this.#maxConcurrency, "request")} at once`;
      throw this.#refusal(most, `being answered: ${this.#numOpen}`, 1);
    }
    this.check("requests", 1);
  }

  /** Errors: `rate_limited`. */
  check(unit: Unit, amount: number): void {
    for (const bucket of this.#of(unit)) {
      const seconds = bucket.waitFor(amount);
      if (seconds === 0) continue;
      const period = bucket.periodSeconds === 1 ? "second" : "minute";
      const left = `left are ${formatCount(Math.max(0, Math.floor(bucket.level)))}, asked for ${formatCount(amount)}`;
      const noun = unit === "requests" ? "request" : "token";
      throw this.#refusal(`${countOf(bucket.capacity, noun)} per ${period}`, left, seconds);
    }
  }

  take(unit: Unit, amount: number): void {
    for (const bucket of this.#of(unit)) bucket.take(amount);
  }

  open(): void {
    this.#numOpen += 1;
  }

  close(): void {
    this.#numOpen -= 1;
  }

  /** The headers of OpenAI's API: what the tightest limit of each unit leaves. */
  headers(): Record<string, string> {
    const headers: Record<string, string> = {};
    for (const unit of ["requests", "tokens"] as const) {
      const [tightest] = this.#of(unit).toSorted((a, b) => a.level - b.level);
      if (tightest === undefined) continue;
      headers[`x-ratelimit-limit-${unit}`] = String(tightest.capacity);
      headers[`x-ratelimit-remaining-${unit}`] = String(Math.max(0, Math.floor(tightest.level)));
      headers[`x-ratelimit-reset-${unit}`] = `${tightest.waitFor(tightest.capacity).toFixed(3)}s`;
    }
    return headers;
  }

  #of(unit: Unit): Bucket[] {
    return this.#buckets.filter((bucket) => bucket.unit === unit);
  }

  #refusal(limit: string, seen: string, seconds: number): MillraceError {
    return new MillraceError(
      "rate_limited",
      `${this.#owner} is limited to ${limit}; ${seen}. Try again in ${Math.max(1, Math.ceil(seconds))} s, or ask for less.`,
      { retryAfterSeconds: seconds },
    );
  }
}
