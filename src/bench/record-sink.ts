import type { RequestRecord } from "../records/bench.ts";
import { isRefusal, looksGood, readAnswer, type SentRequest } from "./measure-request.ts";

/** Unread bytes above which answers are read while the load runs: about 200,000 events of the usual 300 bytes. */
const maxUnreadBytes = 64 * 2 ** 20;
/** Errors in a row after which a load gives up: the server is gone. */
const maxConsecutiveErrors = 8;

/**
 * Takes answers and reads them when the load is over, or one at a time between turns of the event loop where too many
 * bytes wait: reading takes the time in which other answers would be stamped.
 */
export class RecordSink {
  readonly #originMs: number;
  readonly #onRequest: ((done: number) => void) | undefined;
  readonly #unread: SentRequest[] = [];
  readonly #records: RequestRecord[] = [];
  #unreadBytes = 0;
  #isReading = false;
  #numErrorsInRow = 0;
  #numTaken = 0;

  constructor(originMs: number, onRequest: ((done: number) => void) | undefined) {
    this.#originMs = originMs;
    this.#onRequest = onRequest;
  }

  /** Whether nothing but errors came lately. A server that says that it is full is there. */
  get seemsLost(): boolean {
    return this.#numErrorsInRow >= maxConsecutiveErrors;
  }

  take(sent: SentRequest): void {
    this.#count(sent);
    this.#unread.push(sent);
    this.#unreadBytes += sent.outcome.log.sizeBytes;
    if (this.#unreadBytes > maxUnreadBytes && !this.#isReading) {
      this.#isReading = true;
      setImmediate(() => this.#readSome());
    }
  }

  /** Takes an answer whose text is needed now; null where it is no good one. */
  takeText(sent: SentRequest): string | null {
    this.#count(sent);
    const { record, text } = readAnswer(sent, this.#originMs);
    this.#records.push(record);
    return record.error === null ? text : null;
  }

  /** All records, in order of their ends. */
  finish(): RequestRecord[] {
    while (this.#unread.length > 0) this.#readOne();
    return this.#records.toSorted((a, b) => a.endMs - b.endMs);
  }

  #count(sent: SentRequest): void {
    const isNoFault = looksGood(sent) || isRefusal(sent) || sent.outcome.failure?.kind === "censored";
    this.#numErrorsInRow = isNoFault ? 0 : this.#numErrorsInRow + 1;
    this.#numTaken += 1;
    this.#onRequest?.(this.#numTaken);
  }

  #readSome(): void {
    this.#readOne();
    this.#isReading = this.#unreadBytes > maxUnreadBytes / 2;
    if (this.#isReading) setImmediate(() => this.#readSome());
  }

  #readOne(): void {
    const sent = this.#unread.pop();
    if (sent === undefined) return;
    this.#unreadBytes -= sent.outcome.log.sizeBytes;
    this.#records.push(readAnswer(sent, this.#originMs).record);
  }
}
