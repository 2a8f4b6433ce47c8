import type { Clock } from "../../base/clock.ts";
import type { ApiKeys, Caller } from "./api-keys.ts";
import { type LimitSettings, Limits } from "./limits.ts";

/** Lets requests in under the limits of their caller and of the whole server. */
export class Admission {
  readonly #server: Limits;
  readonly #byCaller: ReadonlyMap<Caller, Limits>;

  constructor(keys: ApiKeys, server: LimitSettings, clock: Clock) {
    this.#server = new Limits("This server", server, clock);
    const owned = keys.callers.map((caller): [Caller, Limits] => [
      caller,
      new Limits(`The API key ${caller.name}`, caller.limits ?? {}, clock),
    ]);
    this.#byCaller = new Map(owned);
  }

  /** Counts a request from now until its ticket ends. Errors: `rate_limited`. */
  open(caller: Caller): Ticket {
    const limits = this.#limitsOf(caller);
    for (const held of limits) held.checkRequest();
    return new Ticket(limits);
  }

  /** What is left to a caller, as headers of the answer. */
  headers(caller: Caller): Record<string, string> {
    return headersOf(this.#limitsOf(caller));
  }

  #limitsOf(caller: Caller): readonly Limits[] {
    return [this.#byCaller.get(caller), this.#server].filter((held) => held !== undefined);
  }
}

/** What one request holds of the limits. */
export class Ticket {
  readonly #limits: readonly Limits[];
  #reserved = 0;
  #used = 0;
  #isOpen = true;

  constructor(limits: readonly Limits[]) {
    this.#limits = limits;
    for (const held of limits) {
      held.take("requests", 1);
      held.open();
    }
  }

  /** Sets aside the most tokens that the request may come to. Errors: `rate_limited`. */
  reserve(numTokens: number): void {
    for (const held of this.#limits) held.check("tokens", numTokens);
    for (const held of this.#limits) held.take("tokens", numTokens);
    this.#reserved += numTokens;
  }

  /** Takes what the request comes to in any case. Errors: `rate_limited`. */
  spend(numTokens: number): void {
    this.reserve(numTokens);
    this.use(numTokens);
  }

  /** Tokens that the request has come to so far, in all. */
  use(numTokens: number): void {
    this.#used = numTokens;
  }

  /** What is left of the limits, as headers of the answer. */
  headers(): Record<string, string> {
    return headersOf(this.#limits);
  }

  /** Gives back what was set aside and not used. Further calls do nothing. */
  end(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    for (const held of this.#limits) {
      held.take("tokens", this.#used - this.#reserved);
      held.close();
    }
  }
}

function headersOf(limits: readonly Limits[]): Record<string, string> {
  // The caller's own come first in the list, so they are put in last.
  return Object.assign({}, ...limits.map((held) => held.headers()).reverse()) as Record<string, string>;
}
