/** Time as the code sees it; tests pass a fake one. */
export interface Clock {
  /** Monotonic milliseconds with fraction. */
  now(): number;
}

export const systemClock: Clock = { now: () => performance.now() };
