/**
 * Longest line that is kept whole, in UTF-16 units. Servers send some hundred bytes a token, and some MiB where an event
 * has the log-probabilities of a whole prompt; what is longer is no event of theirs, and its rest is dropped.
 */
const maxLine = 16 * 2 ** 20;
const lineFeed = 10;
const carriageReturn = 13;

/**
 * Reads server-sent events (WHATWG HTML, "Server-sent events") from bytes split anywhere. Only `data` fields are
 * kept; lines end in LF, CRLF or CR. Events of one read share its arrival time, so the caller stamps reads. Each byte is
 * looked at once, however many reads a line takes.
 */
export class SseParser {
  readonly #onData: (data: string) => void;
  readonly #decoder = new TextDecoder("utf-8");
  /** The line that has not ended, without what came with this read. */
  #begun = "";
  /** Whether the last read ended in CR: a LF that begins the next one belongs to it. */
  #endedInReturn = false;
  #data: string[] = [];

  constructor(onData: (data: string) => void) {
    this.#onData = onData;
  }

  push(bytes: Uint8Array): void {
    this.#read(this.#decoder.decode(bytes, { stream: true }));
  }

  /** Ends the stream; a last event without its blank line is dropped, as the standard says. */
  end(): void {
    this.#read(this.#decoder.decode());
  }

  #read(text: string): void {
    if (text === "") return;
    let start = this.#endedInReturn && text.charCodeAt(0) === lineFeed ? 1 : 0;
    for (let at = start; at < text.length; at += 1) {
      const code = text.charCodeAt(at);
      if (code !== lineFeed && code !== carriageReturn) continue;
      const end = text.slice(start, at);
      this.#line(this.#begun === "" ? end : this.#begun + end);
      this.#begun = "";
      if (code === carriageReturn && text.charCodeAt(at + 1) === lineFeed) at += 1;
      start = at + 1;
    }
    this.#endedInReturn = text.charCodeAt(text.length - 1) === carriageReturn;
    if (this.#begun.length < maxLine) this.#begun += text.slice(start);
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
