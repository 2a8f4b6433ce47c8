import v8 from "node:v8";
import { Worker } from "node:worker_threads";
import { sharedNow } from "../base/clock.ts";
import type { RequestRecord } from "../records/bench.ts";
import type { LoadShare, ShareOutcome } from "./load-share.ts";
import type { BenchTarget, RequestPlan } from "./measure-request.ts";
import type { LoadClient } from "./run-stage.ts";
import type { WorkloadSpec } from "./workload/workload.ts";

/** What a thread needs to send by itself. */
export interface ThreadTarget extends Omit<BenchTarget, "pool"> {
  readonly timeoutMs: number | undefined;
  readonly workload: WorkloadSpec;
}

export type ThreadCommand =
  | LoadShare
  | { readonly originEpochMs: number }
  | { readonly warmUp: RequestPlan }
  | { readonly workload: WorkloadSpec }
  | "stop"
  | "close";
export type ThreadReport =
  | { readonly kind: "ready" }
  | { readonly kind: "progress"; readonly done: number }
  | { readonly kind: "outcome"; readonly outcome: ShareOutcome }
  | { readonly kind: "answer"; readonly record: RequestRecord };

/**
 * Settings of V8 that keep it from working in the midst of a load; each such pause is in the times of all answers that
 * come meanwhile. A young generation (each half, MiB) that is large from the start: collecting one of the usual first size,
 * 1 MiB, takes 1 to 4 ms every second or two. Seven times the usual work (bytes of bytecode) before a function is
 * compiled anew by the optimising compiler: that takes 1 to 3 ms, again and again in the first thousands of events, and
 * pays only where events come by the ten thousand a second. They hold for the whole process: code of this thread is
 * compiled later too.
 */
const v8Flags = ["--min-semi-space-size=32", "--interrupt-budget=500000"];

/**
 * Sends loads from threads that do nothing else: one, or several where one cannot keep up. What this thread does meanwhile
 * (progress, looks at the server, the live page) is not in their times.
 */
export class LoadThreads implements LoadClient {
  readonly #threads: readonly LoadThread[];
  readonly #signal: AbortSignal | undefined;
  readonly #onAbort = (): void => this.#tell("stop");

  /** `signal` ends what is in flight. */
  constructor(numThreads: number, target: ThreadTarget, signal: AbortSignal | undefined) {
    for (const flag of v8Flags) v8.setFlagsFromString(flag);
    this.#threads = Array.from({ length: numThreads }, () => new LoadThread(target));
    this.#signal = signal;
    signal?.addEventListener("abort", this.#onAbort, { once: true });
  }

  get numThreads(): number {
    return this.#threads.length;
  }

  /** Rejects where a thread dies or `onRequest` throws, and with the signal's reason where it comes before the start. */
  async run(shares: readonly LoadShare[], onRequest?: (done: number) => void): Promise<ShareOutcome[]> {
    this.#signal?.throwIfAborted();
    const threads = this.#threads.slice(0, shares.length);
    await Promise.all(shares.map((share, index) => threads[index]!.exchange(share, "ready")));
    // A thread that was told to stop before it had anything to send would begin now.
    this.#signal?.throwIfAborted();
    const origin = { originEpochMs: sharedNow() };
    const done = shares.map(() => 0);
    return Promise.all(
      threads.map(async (thread, index) => {
        const onProgress = (count: number): void => {
          done[index] = count;
          onRequest?.(done.reduce((sum, each) => sum + each, 0));
        };
        return (await thread.exchange(origin, "outcome", onProgress)).outcome;
      }),
    );
  }

  /** Sends one request that belongs to no load, from the threads in turn. */
  async warmUp(plan: RequestPlan): Promise<RequestRecord> {
    const thread = this.#threads[plan.index % this.numThreads]!;
    return (await thread.exchange({ warmUp: plan }, "answer")).record;
  }

  /** Gives all threads other prompts. */
  setWorkload(workload: WorkloadSpec): void {
    this.#tell({ workload });
  }

  /** Breaks off what is in flight. */
  async close(): Promise<void> {
    this.#signal?.removeEventListener("abort", this.#onAbort);
    this.#tell("close");
    await Promise.all(this.#threads.map(({ ended }) => ended));
  }

  #tell(command: ThreadCommand): void {
    for (const thread of this.#threads) thread.tell(command);
  }
}

type Answer<K> = Extract<ThreadReport, { readonly kind: K }>;

/** One thread. What ends it unasked fails the exchange that runs, and every later one. */
class LoadThread {
  readonly #worker: Worker;
  /** Settles when the thread is gone, for whatever reason. */
  readonly ended: Promise<void>;
  #failure: Error | null = null;
  #reject: (error: Error) => void = () => {};

  constructor(target: ThreadTarget) {
    this.#worker = new Worker(threadFile(), { workerData: target });
    this.#worker.on("error", (error) => this.#fail(error as Error));
    this.ended = new Promise((resolve) => {
      this.#worker.once("exit", () => {
        this.#fail(new Error("A thread of the load test ended before it was asked to."));
        resolve();
      });
    });
  }

  tell(command: ThreadCommand): void {
    this.#worker.postMessage(command);
  }

  /** Tells the thread something and waits for its answer of one kind; one exchange at a time. */
  exchange<K extends "ready" | "outcome" | "answer">(
    command: ThreadCommand,
    kind: K,
    onProgress?: (done: number) => void,
  ): Promise<Answer<K>> {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#reject = reject;
      const onMessage = (report: ThreadReport): void => {
        try {
          if (report.kind === "progress") onProgress?.(report.done);
          if (report.kind !== kind) return;
          resolve(report as Answer<K>);
        } catch (error) {
          reject(error as Error);
        }
        this.#worker.off("message", onMessage);
      };
      this.#worker.on("message", onMessage);
      this.tell(command);
    });
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#reject(this.#failure);
  }
}

/** Tests run the sources; a thread runs what was built of them. */
function threadFile(): URL {
  const isSource = import.meta.url.endsWith(".ts");
  return new URL(isSource ? "../../dist/bench/load-thread.js" : "./load-thread.js", import.meta.url);
}
