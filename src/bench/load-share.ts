import { setMaxListeners } from "node:events";
import { setImmediate, setTimeout } from "node:timers/promises";
import { openConnections } from "../client/completion-stream.ts";
import type { RequestRecord } from "../records/bench.ts";
import { ClientWatch, type ThreadHealth } from "./client-watch.ts";
import {
  type BenchTarget,
  isRefusal,
  type PreparedRequest,
  prepareRequest,
  type SentRequest,
  sendRequest,
} from "./measure-request.ts";
import { RecordSink } from "./record-sink.ts";
import type { ChatMessage } from "./request-body.ts";
import { retryWaitMs } from "./retry-wait.ts";
import { promptOf, type Turn, type Workload } from "./workload/workload.ts";

/** What every share of a load has. Shares take conversations `firstIndex`, `firstIndex + stride` and so on. */
interface ShareBase {
  readonly firstIndex: number;
  readonly stride: number;
  /** Cuts off what is in flight so long after the start; null waits for every answer. */
  readonly cutMs: number | null;
}

/** N patient users, each sending the next request when its answer is complete. */
export interface ClosedShare extends ShareBase {
  readonly kind: "closed";
  readonly concurrency: number;
  /** At least so many conversations, … */
  readonly numRequests: number;
  /** … and new ones until the load is so old. */
  readonly minMs: number;
}

/** Conversations that begin when they are due, answered or not. */
export interface OpenShare extends ShareBase {
  readonly kind: "open";
  /** Milliseconds after the start, ascending. */
  readonly dueMs: Float64Array;
  /** Most in flight; null for no limit. What is due then waits, and its wait counts. */
  readonly maxConcurrency: number | null;
}

export type LoadShare = ClosedShare | OpenShare;

export interface ShareOutcome {
  readonly records: readonly RequestRecord[];
  /** Conversations begun. */
  readonly numBegun: number;
  /** Due and never sent. */
  readonly numUnsent: number;
  /** Whether a limit held requests back. */
  readonly becameClosed: boolean;
  /** Sent − due of every request that nothing but the client held back. */
  readonly delaysMs: readonly number[];
  readonly health: ThreadHealth;
}

export interface ShareTools {
  readonly target: BenchTarget;
  readonly workload: Workload;
  readonly signal?: AbortSignal | undefined;
  readonly onRequest?: ((done: number) => void) | undefined;
}

/** Timers come up to a millisecond late; the rest of a wait is spent in turns of the event loop. */
const timerSlackMs = 2;
/** A turn of the event loop that reads nothing takes a few microseconds. */
const idleTurnMs = 0.01;
/** Longest wait of one timer, 2^31 - 1 ms: a longer one would come at once. */
const maxTimerMs = 2 ** 31 - 1;
/**
 * Requests that are made ahead at most: 16 MB where each has 1,000 token ids of 8 bytes. From then on the next is made when
 * one was sent.
 */
const maxPrepared = 2048;
/** How often a user who waits after a refusal looks whether the stage still has something for it. */
const retryPollMs = 250;

interface Conversation {
  readonly index: number;
  readonly turns: readonly Turn[];
  readonly first: PreparedRequest;
}

/** Begins a share that is prepared, at a time of the clock that threads have in common. Rejects only where `onRequest` throws. */
export type StartShare = (originEpochMs: number) => Promise<ShareOutcome>;

/**
 * Gets one thread's share of a load ready: its first requests are made and its connections open, so that neither delays an
 * answer. What it gives back sends it and reads the answers when all have come.
 */
export async function prepareShare(share: LoadShare, tools: ShareTools): Promise<StartShare> {
  const { target } = tools;
  const run = new ShareRun(share, tools);
  const numAtOnce = connectionsAtStart(share);
  run.prepare(numAtOnce);
  const each = Math.ceil(numAtOnce / target.endpoints.length);
  await Promise.all(
    target.endpoints.map((endpoint) =>
      openConnections(target.pool, endpoint, { count: each, signal: tools.signal }),
    ),
  );
  return (originEpochMs) => run.start(originEpochMs);
}

/** Those that the load needs in its first second. */
function connectionsAtStart(share: LoadShare): number {
  if (share.kind === "closed") return share.concurrency;
  const numDue = share.dueMs.filter((ms) => ms < 1000).length;
  return Math.min(numDue, share.maxConcurrency ?? numDue);
}

class ShareRun {
  readonly #share: LoadShare;
  readonly #tools: ShareTools;
  #originMs = 0;
  #sink!: RecordSink;
  #watch!: ClientWatch;
  readonly #cut = new AbortController();
  readonly #signal: AbortSignal;
  readonly #delaysMs: number[] = [];
  /** Made and not sent, the next one last. */
  readonly #prepared: Conversation[] = [];
  #numMade = 0;
  #numBegun = 0;
  #becameClosed = false;

  constructor(share: LoadShare, tools: ShareTools) {
    this.#share = share;
    this.#tools = tools;
    const { signal } = tools;
    this.#signal = signal === undefined ? this.#cut.signal : AbortSignal.any([signal, this.#cut.signal]);
    // Every request in flight listens for the end; their number is the load's, not a leak.
    setMaxListeners(0, this.#signal);
  }

  /** Makes the first requests. */
  prepare(count: number): void {
    while (this.#prepared.length < Math.min(count, maxPrepared)) this.#prepared.push(this.#make());
    this.#prepared.reverse();
  }

  start(originEpochMs: number): Promise<ShareOutcome> {
    this.#originMs = originEpochMs - performance.timeOrigin;
    this.#sink = new RecordSink(this.#originMs, this.#tools.onRequest);
    this.#watch = new ClientWatch();
    return this.#share.kind === "closed" ? this.#closed(this.#share) : this.#open(this.#share);
  }

  async #closed({ concurrency, numRequests, minMs }: ClosedShare): Promise<ShareOutcome> {
    const isFull = (): boolean => this.#numBegun >= numRequests && this.#ageMs() >= minMs;
    const user = async (): Promise<void> => {
      while (!isFull() && !this.#isOver()) {
        const waitMs = await this.#converse(this.#next(), null);
        const untilMs = performance.now() + waitMs;
        while (performance.now() < untilMs && !isFull() && !this.#isOver())
          await this.#pause(Math.min(retryPollMs, untilMs - performance.now()));
      }
    };
    return this.#finish([], () => Promise.all(Array.from({ length: concurrency }, user)));
  }

  async #open({ dueMs, maxConcurrency }: OpenShare): Promise<ShareOutcome> {
    const open = new Set<Promise<unknown>>();
    return this.#finish(dueMs, async () => {
      for (const due of dueMs) {
        const atMs = this.#originMs + due;
        await this.#waitUntil(atMs);
        let isHeld = false;
        while (maxConcurrency !== null && open.size >= maxConcurrency) {
          isHeld = true;
          await Promise.race(open);
        }
        if (this.#isOver()) break;
        if (isHeld) this.#becameClosed = true;
        else this.#delaysMs.push(performance.now() - atMs);
        const talk: Promise<unknown> = this.#converse(this.#next(), atMs).finally(() => open.delete(talk));
        open.add(talk);
      }
      await Promise.all(open);
    });
  }

  async #finish(dueMs: ArrayLike<number>, run: () => Promise<unknown>): Promise<ShareOutcome> {
    const { cutMs } = this.#share;
    const timer =
      cutMs === null
        ? undefined
        : globalThis.setTimeout(() => this.#cut.abort(), Math.max(0, cutMs - this.#ageMs()));
    try {
      await run();
    } finally {
      clearTimeout(timer);
    }
    const health = this.#watch.end();
    const numDue = numDueBy(dueMs, this.#ageMs());
    return {
      records: this.#sink.finish(),
      numBegun: this.#numBegun,
      // What was due after the cut is no fault of the client's.
      numUnsent: this.#cut.signal.aborted ? 0 : Math.max(0, numDue - this.#numBegun),
      becameClosed: this.#becameClosed,
      delaysMs: this.#delaysMs,
      health,
    };
  }

  #isOver(): boolean {
    return this.#signal.aborted || this.#sink.seemsLost;
  }

  #ageMs(): number {
    return performance.now() - this.#originMs;
  }

  #next(): Conversation {
    this.#numBegun += 1;
    return this.#prepared.pop() ?? this.#make();
  }

  #make(): Conversation {
    const { firstIndex, stride } = this.#share;
    const { target, workload } = this.#tools;
    const index = firstIndex + this.#numMade * stride;
    this.#numMade += 1;
    const turns = workload.conversation(index);
    const first = prepareRequest(target, { index, turn: 0, ...turns[0]!, dueMs: null });
    return { index, turns, first };
  }

  /** Sends the turns of a conversation, each when the one before is answered; gives the wait that a refusal asks for. */
  async #converse({ index, turns, first }: Conversation, dueMs: number | null): Promise<number> {
    const { target } = this.#tools;
    let history: readonly ChatMessage[] = [];
    for (const [turn, each] of turns.entries()) {
      const prompt = promptOf(each, history);
      const request =
        turn === 0
          ? { ...first, plan: { ...first.plan, dueMs } }
          : prepareRequest(target, { index, turn, prompt, outputTokens: each.outputTokens, dueMs: null });
      const sent = await sendRequest(target, request, this.#signal);
      if (turn === turns.length - 1) {
        this.#sink.take(sent);
        return waitMsAfter(sent);
      }
      const text = this.#sink.takeText(sent);
      if (text === null || this.#signal.aborted) return waitMsAfter(sent);
      history = [...(prompt as readonly ChatMessage[]), { role: "assistant", content: text }];
    }
    return 0;
  }

  async #pause(milliseconds: number): Promise<void> {
    const options = { signal: this.#signal };
    // An abort ends the wait; the loop around it looks at the signal.
    await setTimeout(Math.max(0, milliseconds), undefined, options).catch(() => {});
  }

  async #waitUntil(atMs: number): Promise<void> {
    const restMs = (): number => atMs - performance.now() - timerSlackMs;
    while (restMs() > 0 && !this.#signal.aborted) {
      const options = { signal: this.#signal };
      await setTimeout(Math.min(restMs(), maxTimerMs), undefined, options).catch(() => {});
    }
    for (let now = performance.now(); now < atMs && !this.#signal.aborted; ) {
      await setImmediate();
      const turnMs = performance.now() - now;
      now += turnMs;
      if (turnMs < idleTurnMs) this.#watch.addWait(turnMs);
    }
  }
}

/** How many of ascending times have come. */
export function numDueBy(dueMs: ArrayLike<number>, ageMs: number): number {
  let count = 0;
  while (count < dueMs.length && dueMs[count]! <= ageMs) count += 1;
  return count;
}

function waitMsAfter(sent: SentRequest): number {
  const { retryAfterSeconds } = sent.outcome;
  return isRefusal(sent) || retryAfterSeconds !== null ? retryWaitMs(retryAfterSeconds) : 0;
}
