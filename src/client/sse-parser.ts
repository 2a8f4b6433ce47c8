/**
 * Reads server-sent events (WHATWG HTML, "Server-sent events") from bytes split anywhere. Only `data` fields are
 * kept; lines end in LF, CRLF or CR. Events of one read share its arrival time, so the caller stamps reads.
 */
export class SseParser {
  readonly #onData: (data: string) => void;
  readonly #decoder = new TextDecoder("utf-8");
  #buffer = "";
  #data: string[] = [];

  constructor(onData: (data: string) => void) {
    this.#onData = onData;
  }

  push(bytes: Uint8Array): void {
    this.#buffer += this.#decoder.decode(bytes, { stream: true });
    this.#drain(false);
  }

  /** Ends the stream; a last event without its blank line is dropped, as the standard says. */
  end(): void {
    this.#buffer += this.#decoder.decode();
    this.#drain(true);
  }

  #drain(atEnd: boolean): void {
    let start = 0;
    for (;;) {
      const end = this.#lineEnd(start, atEnd);
      if (end === -1) break;
      this.#line(this.#buffer.slice(start, end));
      start = end + (this.#buffer.startsWith("\r\n", end) ? 2 : 1);
    }
    this.#buffer = this.#buffer.slice(start);
  }

  /** Index of the next line end, or -1. A CR that ends the buffer may be half of CRLF: wait for more. */
  #lineEnd(from: number, atEnd: boolean): number {
    for (let index = from; index < this.#buffer.length; index += 1) {
      const code = this.#buffer.charCodeAt(index);
      if (code === 10) return index;
      if (code === 13) return index + 1 < this.#buffer.length || atEnd ? index : -1;
    }
    return -1;
  }

  #line(line: string): void {
    if (line === "") {
      if (this.#data.length > 0) this.#onData(this.#data.join("\n"));
      this.#data = [];
    } else if (line.startsWith("data:")) {
      this.#data.push(line.startsWith("data: ") ? line.slice(6) : line.slice(5));
    } else if (line === "data") {
      this.#data.push("");
    }
  }
}
