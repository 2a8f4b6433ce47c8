import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { sharedNow } from "../base/clock.ts";
import type { LoadShare, ShareOutcome } from "./load-share.ts";
import type { BenchTarget } from "./measure-request.ts";
import type { LoadClient } from "./run-stage.ts";
import type { WorkloadSpec } from "./workload/workload.ts";

/** What a thread needs to send by itself. */
export interface ThreadTarget extends Omit<BenchTarget, "pool"> {
  readonly timeoutMs: number | undefined;
  readonly workload: WorkloadSpec;
}

export type ThreadCommand = LoadShare | { readonly originEpochMs: number } | "stop" | "close";
export type ThreadReport =
  | { readonly kind: "ready" }
  | { readonly kind: "progress"; readonly done: number }
  | { readonly kind: "outcome"; readonly outcome: ShareOutcome };

/** Sends loads from several threads, for those that one cannot keep up with. */
export class LoadThreads implements LoadClient {
  readonly #workers: readonly Worker[];

  /** `signal` ends what is in flight. */
  constructor(numThreads: number, target: ThreadTarget, signal: AbortSignal | undefined) {
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
function exchange<K extends "ready" | "outcome">(
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
