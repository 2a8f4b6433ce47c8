import { MillraceError } from "../../base/errors.ts";
import type { OpenFile } from "../file-access.ts";

/** Bytes read at a time: the header of a model with 150,000 tokens has some 6 MB, so a handful of reads. */
const windowBytes = 1 << 20;

/** 64 MiB. The longest strings are chat templates, of some 10 kB; more is damage or malice. */
const maxStringBytes = 1 << 26;

/** Reads a GGUF header front to back through a window, so that the weights behind it stay on disk. */
export class GgufCursor {
  readonly #file: OpenFile;
  #window: Buffer<ArrayBuffer> = Buffer.alloc(0);
  /** File offset of the window's first byte. */
  #windowStart = 0;
  #position = 0;

  constructor(file: OpenFile) {
    this.#file = file;
  }

  get position(): number {
    return this.#position;
  }

  get path(): string {
    return this.#file.path;
  }

  /** A view of the next `length` bytes, valid until the next call. */
  view(length: number): DataView {
    const at = this.#take(length);
    return new DataView(this.#window.buffer, this.#window.byteOffset + at, length);
  }

  /** A copy of the next `length` bytes. */
  bytes(length: number): Uint8Array<ArrayBuffer> {
    const at = this.#take(length);
    return new Uint8Array(this.#window.subarray(at, at + length));
  }

  u32(): number {
    const at = this.#take(4);
    return this.#window.readUInt32LE(at);
  }

  u64(): number {
    const at = this.#take(8);
    const value = this.#window.readUInt32LE(at) + this.#window.readUInt32LE(at + 4) * 2 ** 32;
    if (!Number.isSafeInteger(value)) {
      const exact = this.#window.readBigUInt64LE(at);
      throw this.damaged(`has a number ${exact} where a size is expected`);
    }
    return value;
  }

  /** A count of things of at least `minBytes` each: no more than the rest of the file can hold. */
  count(minBytes: number, what: string): number {
    const count = this.u64();
    const room = Math.floor((this.#file.sizeBytes - this.#position) / minBytes);
    if (count > room)
      throw this.damaged(
        `names ${count} elements in ${what}, but ends after ${this.#file.sizeBytes} bytes, which hold at most ${room} of them`,
      );
    return count;
  }

  string(): string {
    const length = this.#stringLength();
    const at = this.#take(length);
    return this.#window.toString("utf8", at, at + length);
  }

  /** The next `count` strings as the file has them, each behind its length of 8 bytes: checked, but not decoded. */
  encodedStrings(count: number): Buffer {
    const start = this.#position;
    for (let i = this.#skipStrings(count); i < count; i += 1 + this.#skipStrings(count - i - 1)) {
      this.#take(this.#stringLength());
    }
    const { buffer, byteOffset, length } = this.#file.read(start, this.#position - start);
    return Buffer.from(buffer, byteOffset, length);
  }

  /**
   * Passes strings that lie in the window as a whole, at most `count`, and returns how many. A vocabulary has a hundred
   * thousand of them, and two calls for each are most of what a header takes.
   */
  #skipStrings(count: number): number {
    const { buffer, byteOffset, length } = this.#window;
    const view = new DataView(buffer, byteOffset, length);
    let at = this.#position - this.#windowStart;
    let skipped = 0;
    while (skipped < count && at + 8 <= length) {
      const end = at + 8 + view.getUint32(at, true);
      if (end > length || view.getUint32(at + 4, true) !== 0) break;
      at = end;
      skipped += 1;
    }
    this.#position = this.#windowStart + at;
    return skipped;
  }

  #stringLength(): number {
    const length = this.u64();
    if (length > maxStringBytes)
      throw this.damaged(`has a string of ${length} bytes; at most ${maxStringBytes} are allowed`);
    return length;
  }

  damaged(what: string): MillraceError {
    return new MillraceError(
      "invalid_model_file",
      `${this.#file.path} ${what} (near byte ${this.#position}). Fetch the file again and compare its size and hash with the source's.`,
    );
  }

  /** Advances by `length` and returns where in the window the bytes begin. */
  #take(length: number): number {
    const end = this.#position + length;
    if (end > this.#file.sizeBytes) {
      throw this.damaged(
        `ends at byte ${this.#file.sizeBytes} in the middle of its header; ${length} bytes more were expected`,
      );
    }
    if (end > this.#windowStart + this.#window.length) {
      const {
        buffer,
        byteOffset,
        length: size,
      } = this.#file.read(this.#position, Math.max(length, windowBytes));
      this.#window = Buffer.from(buffer, byteOffset, size);
      this.#windowStart = this.#position;
    }
    const at = this.#position - this.#windowStart;
    this.#position = end;
    return at;
  }
}
