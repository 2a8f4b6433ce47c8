import type { EngineLoop } from "../../src/engine/engine-loop.ts";
import { OpenRequests } from "../../src/engine/open-requests.ts";
import { readStep } from "../../src/engine/step-record.ts";
import type { GenerateRequest } from "../../src/protocol/engine-client.ts";
import { defaultSampling, type SamplingParams } from "../../src/protocol/sampling-params.ts";
import { createRandom } from "./covering-array.ts";

/** How the requests of a storm ended, as the engine's messages and as their clients saw it. */
export interface StormCounts {
  /** Requests that reached the engine. */
  numSent: number;
  /** Requests whose id was open already: they never reach it. */
  numDuplicates: number;
  /** Messages that end a request, by kind. */
  numStopped: number;
  numAborted: number;
  numFailed: number;
  /** Requests with no end or with more than one. */
  numWrongEnds: number;
  /** Error codes of failed requests and how often they came. */
  readonly codes: Map<string, number>;
  /** Clients that left, read slowly, and scored. */
  numLeft: number;
  numSlow: number;
  numScored: number;
}

/** An engine under storm, with its client's side in the open so that a test can look inside. */
export class Storm {
  readonly engine: EngineLoop;
  readonly open: OpenRequests;
  readonly counts: StormCounts = {
    numSent: 0,
    numDuplicates: 0,
    numStopped: 0,
    numAborted: 0,
    numFailed: 0,
    numWrongEnds: 0,
    codes: new Map(),
    numLeft: 0,
    numSlow: 0,
    numScored: 0,
  };
  /** By handle: ends seen of requests that are not yet counted. */
  readonly #ends = new Map<number, number>();
  readonly #random: () => number;
  #nextId = 0;

  constructor(engine: EngineLoop, seed: number) {
    this.engine = engine;
    this.#random = createRandom(seed);
    this.open = new OpenRequests({
      generate: (handle, request) => {
        this.#send(handle);
        engine.generate(handle, request);
      },
      score: (handle, request) => {
        this.#send(handle);
        engine.score(handle, request);
      },
      abort: (handle) => engine.abort(handle),
    });
    engine.connect((message) => {
      readStep(message.records, ({ handle, finishReason }) => {
        if (finishReason === null) return;
        this.#end(handle);
        if (finishReason === "abort") this.counts.numAborted += 1;
        else this.counts.numStopped += 1;
      });
      for (const { handle } of message.scores) {
        this.#end(handle);
        this.counts.numStopped += 1;
      }
      for (const { handle, error } of message.failures) {
        this.#end(handle);
        this.counts.numFailed += 1;
        const code = "code" in error ? String(error.code) : error.name;
        this.counts.codes.set(code, (this.counts.codes.get(code) ?? 0) + 1);
      }
      this.open.receive(message);
    });
  }

  /** Sends `count` requests of all kinds, a few per turn, and resolves when each has ended and the engine is idle. */
  async run(count: number): Promise<void> {
    const clients: Promise<void>[] = [];
    for (let index = 0; index < count; index += 1) {
      clients.push(this.#client());
      if (this.#below(3) === 0) await turns(this.#below(3));
      // Waves, so that the engine also falls idle in between.
      if (clients.length >= 400) await Promise.all(clients.splice(0));
    }
    await Promise.all(clients);
    while (this.engine.counters.get("isBusy") === 1) await turns(1);
    for (const numEnds of this.#ends.values()) if (numEnds !== 1) this.counts.numWrongEnds += 1;
    this.#ends.clear();
  }

  #send(handle: number): void {
    this.counts.numSent += 1;
    this.#ends.set(handle, 0);
  }

  #end(handle: number): void {
    this.#ends.set(handle, (this.#ends.get(handle) ?? 0) + 1);
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit);
  }

  async #client(): Promise<void> {
    const kind = this.#below(12);
    if (kind === 0) return this.#score();
    if (kind === 1) return this.#sendTwice();
    await this.#read(this.#drawRequest(kind), kind);
  }

  /** The second of two open requests with one id is refused before the engine sees it, and does the first no harm. */
  async #sendTwice(): Promise<void> {
    const request = this.#drawRequest(1);
    const reading = this.#read(request, 1);
    const refused = drain(this.open.generate(request)).catch(() => {
      this.counts.numDuplicates += 1;
    });
    await Promise.all([reading, refused]);
  }

  /** Kinds 2 to 4 are wrong in themselves, 5 has too little time; the others differ in how they are read. */
  #drawRequest(kind: number): GenerateRequest {
    const { maxModelLen, vocabSize } = this.engine.info;
    const random = this.#random;
    const maxTokens = 1 + this.#below(maxModelLen / 2);
    const length = kind === 2 ? maxModelLen : 1 + this.#below(maxModelLen / 4);
    const start = this.#below(vocabSize);
    const promptTokenIds = Array.from({ length }, (_, at) => (start * 5 + at * 3) % vocabSize);
    const sampling: SamplingParams = {
      ...defaultSampling,
      maxTokens,
      temperature: kind === 3 ? -1 : random() < 0.5 ? 0 : 1,
      logprobs: random() < 0.3 ? this.#below(4) : null,
      topP: kind === 4 ? 2 : 1,
      frequencyPenalty: random() < 0.2 ? 0.5 : 0,
      badWords: random() < 0.2 ? [[1 + this.#below(3)], [5, 6]] : [],
      ignoreEos: random() < 0.8,
      stopTokenIds: random() < 0.1 ? [2 + this.#below(vocabSize - 2)] : [],
      logitBias: random() < 0.2 ? new Map([[3, 2]]) : null,
      seed: random() < 0.5 ? BigInt(this.#below(1000)) : null,
    };
    const deadlineMs = kind === 5 ? 0.001 + random() * 4 : 60_000;
    const salted = random() < 0.1 ? { cacheSalt: `s${this.#below(3)}` } : {};
    this.#nextId += 1;
    return {
      requestId: `storm${this.#nextId}`,
      promptTokenIds,
      sampling,
      scheduling: { deadlineMs, tenant: `t${this.#below(4)}`, ...salted },
      explain: random() < 0.2,
    };
  }

  /** Kinds: 6 leaves its loop, 7 aborts at once, 8 aborts later, 9 reads slowly, 10 cancels an unread stream. */
  async #read(request: GenerateRequest, kind: number): Promise<void> {
    const { requestId } = request;
    const outputs = this.open.generate(request);
    if (kind === 10) {
      this.counts.numLeft += 1;
      await outputs[Symbol.asyncIterator]().return!();
      return;
    }
    if (kind === 7) this.open.abort(requestId);
    if (kind === 9) this.counts.numSlow += 1;
    let patience = this.#below(6);
    try {
      for await (const _ of outputs) {
        patience -= 1;
        if (kind === 6 && patience < 0) {
          this.counts.numLeft += 1;
          break;
        }
        if (kind === 8 && patience < 0) this.open.abort(requestId);
        if (kind === 9) await turns(1 + this.#below(30));
      }
    } catch (error) {
      expectCode(error);
    }
  }

  async #score(): Promise<void> {
    const { vocabSize, maxModelLen } = this.engine.info;
    const length = 3 + this.#below(maxModelLen - 3);
    const first = this.#below(4);
    const tokenIds = Array.from({ length }, (_, at) => (first * 5 + at * 3) % vocabSize);
    this.counts.numScored += 1;
    const request = { tokenIds, start: 1 + this.#below(length - 2), topK: this.#below(3) };
    await this.open.score(request).catch(expectCode);
  }
}

/** Refusals and ends are counted where the engine tells them; an error without a code is a fault of its own. */
function expectCode(error: unknown): void {
  if (!(error instanceof Error && "code" in error)) throw error;
}

const drain = async (outputs: AsyncIterable<unknown>): Promise<void> => {
  for await (const _ of outputs);
};

/** Lets the event loop turn. */
export async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => void setImmediate(resolve));
}
