import { once } from "node:events";
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
 * pays only where events come by the ten thousand a second.
 */
const v8Flags = ["--min-semi-space-size=32", "--interrupt-budget=500000"];

/**
 * Sends loads from threads that do nothing else: one, or several where one cannot keep up. What this thread does meanwhile
 * (progress, looks at the server, the live page) is not in their times.
 */
export class LoadThreads implements LoadClient {
  readonly #workers: readonly Worker[];

  /** `signal` ends what is in flight. */
  constructor(numThreads: number, target: ThreadTarget, signal: AbortSignal | undefined) {
    for (const flag of v8Flags) v8.setFlagsFromString(flag);
    this.#workers = Array.from(
      { length: numThreads },
      () => new Worker(threadFile(), { workerData: target }),
    );
    signal?.addEventListener("abort", () => this.#tell("stop"), { once: true });
  }

  get numThreads(): number {
    return this.#workers.length;
  }

  async run(shares: readonly LoadShare[], onRequest?: (done: number) => void): Promise<ShareOutcome[]> {
    const workers = this.#workers.slice(0, shares.length);
    await Promise.all(shares.map((share, thread) => exchange(workers[thread]!, share, "ready")));
    const origin = { originEpochMs: sharedNow() };
    const done = shares.map(() => 0);
    return Promise.all(
      workers.map(async (worker, thread) => {
        const onProgress = (count: number): void => {
          done[thread] = count;
          onRequest?.(done.reduce((sum, each) => sum + each, 0));
        };
        return (await exchange(worker, origin, "outcome", onProgress)).outcome;
      }),
    );
  }

  /** Sends one request that belongs to no load, from the threads in turn. */
  async warmUp(plan: RequestPlan): Promise<RequestRecord> {
    const worker = this.#workers[plan.index % this.#workers.length]!;
    return (await exchange(worker, { warmUp: plan }, "answer")).record;
  }

  /** Gives all threads other prompts. */
  setWorkload(workload: WorkloadSpec): void {
    this.#tell({ workload });
  }

  async close(): Promise<void> {
    const ends = this.#workers.map((worker) => once(worker, "exit"));
    this.#tell("close");
    await Promise.all(ends);
  }

  #tell(command: ThreadCommand): void {
    for (const worker of this.#workers) worker.postMessage(command);
  }
}

type Answer<K> = Extract<ThreadReport, { readonly kind: K }>;

/** Tells a thread something and waits for its answer of one kind. */
function exchange<K extends "ready" | "outcome" | "answer">(
  worker: Worker,
  command: ThreadCommand,
  kind: K,
  onProgress?: (done: number) => void,
): Promise<Answer<K>> {
  return new Promise((resolve, reject) => {
    const end = (): void => {
      worker.off("message", onMessage).off("error", onError);
    };
    const onMessage = (report: ThreadReport): void => {
      if (report.kind === "progress") onProgress?.(report.done);
      if (report.kind !== kind) return;
      end();
      resolve(report as Answer<K>);
    };
    const onError = (error: unknown): void => {
      end();
      reject(error as Error);
    };
    worker.on("message", onMessage).on("error", onError);
    worker.postMessage(command);
  });
}

/** Tests run the sources; a thread runs what was built of them. */
function threadFile(): URL {
  const isSource = import.meta.url.endsWith(".ts");
  return new URL(isSource ? "../../dist/bench/load-thread.js" : "./load-thread.js", import.meta.url);
}
