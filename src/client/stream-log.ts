import { SseParser } from "./sse-parser.ts";

/** One server-sent event with its arrival. */
export interface TimedEvent {
  /** Monotonic milliseconds when the bytes that completed the event were read. */
  readonly atMs: number;
  /** True when an earlier event came with the same read; their gap says nothing. */
  readonly coalesced: boolean;
  readonly data: string;
}

const firstBytes = 8192;
const firstReads = 64;
const endMark = "[DONE]";
/** The mark is followed by line ends only. */
const endMarkReach = 16;

/**
 * The bytes of a streamed answer and when each read of them came. Reading events out of it is put off until somebody asks,
 * so that parsing one answer delays no time stamp of another.
 */
export class StreamLog {
  #bytes = new Uint8Array(firstBytes);
  #numBytes = 0;
  #readMs = new Float64Array(firstReads);
  /** Bytes in the log after each read. */
  #readEnd = new Float64Array(firstReads);
  #numReads = 0;

  /** Takes bytes of the body; those with the time of the call before came with the same read. */
  append(bytes: Uint8Array, atMs: number): void {
    const end = this.#numBytes + bytes.length;
    if (end > this.#bytes.length) this.#bytes = grown(this.#bytes, new Uint8Array(2 * end));
    this.#bytes.set(bytes, this.#numBytes);
    this.#numBytes = end;
    const read = this.#numReads;
    if (read > 0 && this.#readMs[read - 1] === atMs) {
      this.#readEnd[read - 1] = end;
      return;
    }
    if (read === this.#readMs.length) {
      this.#readMs = grown(this.#readMs, new Float64Array(2 * read));
      this.#readEnd = grown(this.#readEnd, new Float64Array(2 * read));
    }
    this.#readMs[read] = atMs;
    this.#readEnd[read] = end;
    this.#numReads = read + 1;
  }

  get sizeBytes(): number {
    return this.#numBytes;
  }

  /** Whether it closes as streams of OpenAI's form do; asks no parser. */
  get endsWell(): boolean {
    const tail = this.#bytes.subarray(Math.max(0, this.#numBytes - endMarkReach), this.#numBytes);
    return Buffer.from(tail.buffer, tail.byteOffset, tail.length).includes(endMark);
  }

  /** The events, each with the time of the read that completed it. */
  events(): TimedEvent[] {
    const events: TimedEvent[] = [];
    let atMs = 0;
    let isFirstOfRead = true;
    const parser = new SseParser((data) => {
      events.push({ atMs, coalesced: !isFirstOfRead, data });
      isFirstOfRead = false;
    });
    let start = 0;
    for (let read = 0; read < this.#numReads; read += 1) {
      atMs = this.#readMs[read]!;
      isFirstOfRead = true;
      parser.push(this.#bytes.subarray(start, this.#readEnd[read]));
      start = this.#readEnd[read]!;
    }
    parser.end();
    return events;
  }
}

function grown<T extends Uint8Array | Float64Array>(old: T, next: T): T {
  next.set(old);
  return next;
}
