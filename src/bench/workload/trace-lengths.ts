import { MillraceError } from "../../base/errors.ts";
import type { RateLoad } from "../open-loop.ts";
import { countText } from "../stage-text.ts";

/** Tokens of one request. */
export interface RequestLengths {
  readonly input: number;
  readonly output: number;
}

/** The requests of a trace that a server's context holds. */
export class TraceLengths {
  /** Of what fits, in order. */
  readonly kept: readonly RequestLengths[];
  readonly numLeftOut: number;
  readonly #fits: readonly boolean[];

  /**
   * @param lengths of each request of the trace, in order
   * @param maxModelLen tokens of the server's context; null where it does not tell, and everything is sent
   * Throws `invalid_option` where no request fits.
   */
  constructor(lengths: readonly RequestLengths[], maxModelLen: number | null) {
    this.#fits = lengths.map(({ input, output }) => maxModelLen === null || input + output <= maxModelLen);
    this.kept = lengths.filter((_, index) => this.#fits[index]);
    this.numLeftOut = lengths.length - this.kept.length;
    if (this.kept.length > 0) return;
    throw new MillraceError(
      "invalid_option",
      `--trace has ${countText(lengths.length, "request")}, ${lengths.length === 1 ? "which" : "and each"} is longer than the ${maxModelLen} tokens of the server's context. Start it with a longer one, or take more of the trace with --num-requests.`,
      { param: "--trace" },
    );
  }

  /** The trace's own load without what does not fit, from the first that does on; any other as it is. */
  loadOf(plan: RateLoad): RateLoad {
    const { arrivals } = plan;
    if (arrivals.kind !== "times") return plan;
    const kept = arrivals.dueMs.filter((_, index) => this.#fits[index]);
    // A stage that began with requests that are left out would begin idle, and offer less than it does.
    const dueMs = kept.map((ms) => ms - kept[0]!);
    return { ...plan, arrivals: { ...arrivals, dueMs }, numRequests: dueMs.length };
  }

  /** The first index from `index` on whose conversation has the length of the trace's first request. */
  startFrom(index: number): number {
    return Math.ceil(index / this.kept.length) * this.kept.length;
  }
}
