import type { IncrementalDecoder } from "./tokenizer.ts";

/** What a decoder needs of a vocabulary. */
export interface TokenTable {
  /** Bytes of a token; undefined for unknown ids and for special tokens that are skipped. */
  bytes(id: number): Uint8Array | undefined;
  /** The token's text where its bytes are whole characters, else undefined. */
  wholeText(id: number): string | undefined;
}

const utf8: InstanceType<typeof TextDecoder> = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * Turns token bytes into text, holding back at most three bytes of an unfinished character. Broken sequences
 * become U+FFFD as in the WHATWG encoding standard, so the deltas together equal the text of all bytes at once.
 */
export class Utf8TokenDecoder implements IncrementalDecoder {
  readonly #table: TokenTable;
  #stripsNext: boolean;
  #pending: Uint8Array = new Uint8Array(0);

  constructor(table: TokenTable, stripsLeadingSpace: boolean) {
    this.#table = table;
    this.#stripsNext = stripsLeadingSpace;
  }

  push(id: number): string {
    if (this.#pending.length === 0) {
      const whole = this.#table.wholeText(id);
      if (whole !== undefined) return this.#strip(whole);
    }
    const bytes = this.#table.bytes(id);
    if (bytes === undefined || bytes.length === 0) return "";
    const all = this.#pending.length === 0 ? bytes : concat(this.#pending, bytes);
    const end = all.length - unfinishedLength(all);
    this.#pending = all.slice(end);
    return this.#strip(utf8.decode(all.subarray(0, end)));
  }

  flush(): string {
    const text = utf8.decode(this.#pending);
    this.#pending = new Uint8Array(0);
    return this.#strip(text);
  }

  #strip(text: string): string {
    if (!this.#stripsNext || text === "") return text;
    this.#stripsNext = false;
    return text.startsWith(" ") ? text.slice(1) : text;
  }
}

/** Length of a lead byte with too few continuation bytes at the end; a cut before a lead byte is always safe. */
export function unfinishedLength(bytes: Uint8Array): number {
  for (let length = 1; length <= 3 && length <= bytes.length; length += 1) {
    const byte = bytes[bytes.length - length]!;
    if (byte < 0x80) return 0;
    if (byte >= 0xc0) {
      const needed = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
      return byte <= 0xf4 && length < needed ? length : 0;
    }
  }
  return 0;
}

function concat(first: Uint8Array, second: Uint8Array): Uint8Array {
  const out = new Uint8Array(first.length + second.length);
  out.set(first);
  out.set(second, first.length);
  return out;
}
