/** How a body ends (RFC 9112, section 6.3). */
type Framing =
  | { readonly kind: "chunked" }
  | { readonly kind: "length"; readonly bytes: number }
  | { readonly kind: "until close" };

export interface ResponseHead {
  readonly status: number;
  /** By lower-case names; the last of several with one name. */
  readonly headers: ReadonlyMap<string, string>;
}

/** A server that speaks something else than HTTP/1.1, or without end. */
export class FramingError extends Error {
  override readonly name = "FramingError";
  readonly code = "ERR_HTTP_FRAMING";
}

/** More is no head of an answer. */
const maxHeadBytes = 65536;
/**
 * More is no answer: a stream of 128 Ki tokens takes about 50 MiB. Who keeps answers would run out of memory by one that
 * goes on and on.
 */
const maxBodyBytes = 256 * 2 ** 20;
/** Digits of a chunk's size, with room for its extensions. */
const maxSizeLine = 4096;

type State = "head" | "body" | "chunk size" | "chunk" | "chunk end" | "trailer" | "done";

const lineFeed = 10;

/**
 * Takes the HTTP/1.1 framing off one answer, however its bytes are split. It steps over a body without looking at it, so
 * that a read costs about as much as a copy.
 */
export class ResponseReader {
  readonly #onHead: (head: ResponseHead) => void;
  readonly #onBody: (bytes: Uint8Array) => void;
  #state: State = "head";
  /** What came of the head, of a chunk's size or of a trailer line, in Latin-1. */
  #line = "";
  /** Bytes of the body or the chunk that are still to come. */
  #rest = 0;
  #bodyBytes = 0;
  #isPersistent = true;

  /** `onBody` gets views into what was pushed: who keeps them copies them. */
  constructor(onHead: (head: ResponseHead) => void, onBody: (bytes: Uint8Array) => void) {
    this.#onHead = onHead;
    this.#onBody = onBody;
  }

  get isDone(): boolean {
    return this.#state === "done";
  }

  /** Whether the connection may carry another request behind this one. */
  get isPersistent(): boolean {
    return this.#isPersistent;
  }

  /** Takes a read; gives the bytes that it used, fewer than all only behind the answer's end. Throws `FramingError`. */
  push(bytes: Uint8Array): number {
    let at = 0;
    while (at < bytes.length && this.#state !== "done") at = this.#step(bytes, at);
    return at;
  }

  /** Tells that the connection was closed; gives whether that ends the answer as it should. */
  close(): boolean {
    if (this.#state === "body" && this.#rest === Number.POSITIVE_INFINITY) this.#state = "done";
    return this.isDone;
  }

  #step(bytes: Uint8Array, at: number): number {
    if (this.#state === "body" || this.#state === "chunk") return this.#passBody(bytes, at);
    const end = bytes.indexOf(lineFeed, at);
    const stop = end === -1 ? bytes.length : end + 1;
    for (let i = at; i < stop; i += 1) this.#line += String.fromCharCode(bytes[i]!);
    if (this.#line.length > (this.#state === "head" ? maxHeadBytes : maxSizeLine))
      throw new FramingError("the answer has a line or a head without end");
    if (end !== -1) this.#endLine();
    return stop;
  }

  #passBody(bytes: Uint8Array, at: number): number {
    const stop = Math.min(bytes.length, at + this.#rest);
    this.#bodyBytes += stop - at;
    if (this.#bodyBytes > maxBodyBytes)
      throw new FramingError(`the answer has more than ${maxBodyBytes / 2 ** 20} MiB, the most that is read`);
    this.#onBody(bytes.subarray(at, stop));
    this.#rest -= stop - at;
    if (this.#rest === 0) this.#state = this.#state === "chunk" ? "chunk end" : "done";
    return stop;
  }

  #endLine(): void {
    if (this.#state === "head") {
      if (this.#line.endsWith("\r\n\r\n") || this.#line.endsWith("\n\n")) this.#readHead();
      return;
    }
    const line = this.#line.trimEnd();
    this.#line = "";
    if (this.#state === "chunk size") this.#readSize(line);
    else if (this.#state === "chunk end") this.#state = "chunk size";
    else if (line === "") this.#state = "done";
  }

  #readSize(line: string): void {
    const digits = line.split(";", 1)[0]!.trim();
    if (!/^[0-9a-f]{1,8}$/i.test(digits))
      throw new FramingError(`the answer has a chunk of size "${line.slice(0, 20)}"`);
    this.#rest = Number.parseInt(digits, 16);
    this.#state = this.#rest === 0 ? "trailer" : "chunk";
  }

  #readHead(): void {
    const head = parseHead(this.#line);
    this.#line = "";
    // An interim answer, such as 103; the real one is behind it.
    if (head.status < 200) return;
    const { persistent, framing } = framingOf(head);
    this.#isPersistent = persistent;
    if (framing.kind === "chunked") this.#state = "chunk size";
    else {
      this.#rest = framing.kind === "length" ? framing.bytes : Number.POSITIVE_INFINITY;
      this.#state = this.#rest === 0 ? "done" : "body";
    }
    this.#onHead(head);
  }
}

function parseHead(text: string): ResponseHead {
  const [first, ...lines] = text.trimEnd().split(/\r?\n/);
  const status = Number(/^HTTP\/1\.[01] (\d{3})(?: |$)/.exec(first!)?.[1] ?? Number.NaN);
  if (Number.isNaN(status))
    throw new FramingError(`the answer begins with "${first!.slice(0, 40)}", which is not HTTP/1.1`);
  const pairs = lines.map((line): [string, string] => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim()];
  });
  const isOld = first!.startsWith("HTTP/1.0");
  return { status, headers: new Map([["connection", isOld ? "close" : "keep-alive"], ...pairs]) };
}

function framingOf({ status, headers }: ResponseHead): {
  readonly framing: Framing;
  readonly persistent: boolean;
} {
  const persistent = !/\bclose\b/i.test(headers.get("connection")!);
  if (status === 204 || status === 304) return { framing: { kind: "length", bytes: 0 }, persistent };
  if (/\bchunked\b/i.test(headers.get("transfer-encoding") ?? ""))
    return { framing: { kind: "chunked" }, persistent };
  const length = headers.get("content-length");
  if (length === undefined) return { framing: { kind: "until close" }, persistent: false };
  if (!/^\d{1,15}$/.test(length)) throw new FramingError(`the answer has the length "${length}"`);
  return { framing: { kind: "length", bytes: Number(length) }, persistent };
}
