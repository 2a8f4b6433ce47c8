/** What is certain after some more text. */
export interface MatchedText {
  /** Text that cannot be part of a stop string any more. */
  readonly text: string;
  /** The stop string that was completed, or null. Nothing follows it. */
  readonly stop: string | null;
}

/**
 * Finds stop strings in text that comes in pieces. Holds back only what could be the beginning of one. The stop that
 * is completed first wins; of several completed by the same character, the longest. The result is the same for every
 * cut of the text into pieces.
 */
export class StopMatcher {
  readonly #stops: readonly string[];
  readonly #includeStop: boolean;
  readonly #maxLength: number;
  /** The end of the text, as far as it may matter: held-back text and what may begin a later match. */
  #tail = "";
  /** How much of the tail has been given out. */
  #numGiven = 0;

  /** @param stops non-empty strings; empty ones are ignored */
  constructor(stops: readonly string[], includeStop: boolean) {
    this.#stops = stops.filter((stop) => stop !== "");
    this.#includeStop = includeStop;
    this.#maxLength = Math.max(0, ...this.#stops.map((stop) => stop.length));
  }

  /** @param mayEnd false while a stop string must not end in this text (`minTokens`) */
  push(piece: string, mayEnd = true): MatchedText {
    if (this.#maxLength === 0) return { text: piece, stop: null };
    const seen = this.#tail.length;
    this.#tail += piece;
    if (mayEnd) {
      const match = this.#firstMatch(seen);
      if (match !== null) return this.#finish(match);
    }
    return { text: this.#giveUpTo(this.#tail.length - this.#heldLength()), stop: null };
  }

  /** What was held back, when the text ends without a stop. */
  flush(): string {
    return this.#giveUpTo(this.#tail.length);
  }

  /** The match with the earliest end after the first `seen` characters. */
  #firstMatch(seen: number): { readonly stop: string; readonly start: number } | null {
    let best: { stop: string; start: number } | null = null;
    for (const stop of this.#stops) {
      const start = this.#tail.indexOf(stop, Math.max(0, seen - stop.length + 1));
      if (start === -1) continue;
      const end = start + stop.length;
      const bestEnd = best === null ? Infinity : best.start + best.stop.length;
      if (end < bestEnd || (end === bestEnd && stop.length > best!.stop.length)) best = { stop, start };
    }
    return best;
  }

  #finish({ stop, start }: { readonly stop: string; readonly start: number }): MatchedText {
    return { text: this.#giveUpTo(this.#includeStop ? start + stop.length : start), stop };
  }

  /** Length of the longest end of the tail that a stop string begins with. */
  #heldLength(): number {
    const longest = Math.min(this.#tail.length, this.#maxLength - 1);
    for (let length = longest; length > 0; length -= 1) {
      const end = this.#tail.slice(-length);
      if (this.#stops.some((stop) => stop.length > length && stop.startsWith(end))) return length;
    }
    return 0;
  }

  #giveUpTo(end: number): string {
    const text = this.#tail.slice(this.#numGiven, Math.max(this.#numGiven, end));
    this.#numGiven = Math.max(this.#numGiven, end);
    const keepFrom = Math.min(this.#numGiven, Math.max(0, this.#tail.length - this.#maxLength + 1));
    this.#tail = this.#tail.slice(keepFrom);
    this.#numGiven -= keepFrom;
    return text;
  }
}
