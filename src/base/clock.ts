/** Time as the code sees it; tests pass a fake one. */
export interface Clock {
  /** Monotonic milliseconds with fraction. */
  now(): number;
}

/** Milliseconds since 1970 on a clock that all threads of the process share, and that nobody sets in between. */
export function sharedNow(): number {
  return sinceEpoch(performance.now());
}

/** A time of `systemClock` on that clock. */
export function sinceEpoch(monotonicMs: number): number {
  return performance.timeOrigin + monotonicMs;
}

export const systemClock: Clock = { now: () => performance.now() };
