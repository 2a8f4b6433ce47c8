/** What is certain of a text up to a marker. */
export interface Taken {
  /** Text before the marker, or all that cannot be the beginning of one. */
  readonly text: string;
  /** The marker that was found and taken; null where none is there yet. */
  readonly marker: string | null;
}

/** Text that comes in pieces, of which as much is kept as may begin a marker. */
export class MarkerBuffer {
  #text = "";

  get text(): string {
    return this.#text;
  }

  push(text: string): void {
    this.#text += text;
  }

  /** Takes text up to the first of the markers; of two at one place, the longest that is there. */
  takeUntil(markers: readonly string[]): Taken {
    let found: { readonly at: number; readonly marker: string } | null = null;
    for (const marker of markers) {
      const at = this.#text.indexOf(marker);
      if (at === -1) continue;
      const isBetter =
        found === null || at < found.at || (at === found.at && marker.length > found.marker.length);
      if (isBetter) found = { at, marker };
    }
    if (found === null)
      return { text: this.take(this.#text.length - this.#heldLength(markers)), marker: null };
    const text = this.take(found.at);
    this.take(found.marker.length);
    return { text, marker: found.marker };
  }

  take(length: number): string {
    const text = this.#text.slice(0, length);
    this.#text = this.#text.slice(length);
    return text;
  }

  /** Whether the text is the beginning of one of the markers, and not all of it. */
  mayBegin(markers: readonly string[]): boolean {
    return markers.some((marker) => marker.length > this.#text.length && marker.startsWith(this.#text));
  }

  /** Length of the longest end of the text that a marker begins with. */
  #heldLength(markers: readonly string[]): number {
    const longest = Math.max(0, ...markers.map((marker) => marker.length - 1));
    for (let length = Math.min(longest, this.#text.length); length > 0; length -= 1) {
      const end = this.#text.slice(-length);
      if (markers.some((marker) => marker.length > length && marker.startsWith(end))) return length;
    }
    return 0;
  }
}
