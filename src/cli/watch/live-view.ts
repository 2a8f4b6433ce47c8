import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { httpStatusOf, isMillraceError } from "../../base/errors.ts";
import type { Progress } from "../../base/progress.ts";
import { kindOf } from "../../flow/compare/read-bench.ts";
import type { BenchStage, RateStage } from "../../records/bench.ts";
import type { ComparisonRecord } from "../../records/comparison.ts";
import { type LiveLevel, renderLiveFragment, renderLivePage } from "../../report/live.ts";
import { PageGuard } from "../../server/access/page-guard.ts";
import { printNote } from "../terminal.ts";

/** Often enough to look live. */
const refreshMs = 250;
const maxHistory = 300;
const maxLines = 100;
const host = "127.0.0.1";
/** Figures of a model are for who sits at this machine, not for a page of the web that leads its own name here. */
const guard = new PageGuard({
  host,
  hosts: [],
  crossOrigin: { origins: [], methods: [], headers: [], allowsCredentials: false },
});

/** Shows a flow on a local page while it runs. */
export interface LiveView {
  readonly url: string;
  /** Passes progress on and shows it. */
  follow(progress: Progress): Progress;
  addStage(variant: string, stage: BenchStage | RateStage): void;
  finish(record: ComparisonRecord): void;
  close(): Promise<void>;
}

/** Serves the page on loopback, at a port that is free, and says where. */
export async function watchFlow(title: string): Promise<LiveView> {
  const view = new FlowView(title);
  await view.listen();
  printNote(`Watch it at ${view.url}`);
  return view;
}

class FlowView implements LiveView {
  readonly #title: string;
  readonly #listeners = new Set<ServerResponse>();
  readonly #server = createServer((request, response) => this.#answer(request, response));
  readonly #levels = new Map<string, LiveLevel[]>();
  readonly #lines: string[] = [];
  #history: { atMs: number; done: number }[] = [];
  #current = { label: "start", done: 0, total: 0, note: "" };
  #startedMs = performance.now();
  #recommendation: string | null = null;
  #timer: NodeJS.Timeout | null = null;
  url = "";

  constructor(title: string) {
    this.#title = title;
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(0, host, resolve);
    });
    this.url = `http://${host}:${(this.#server.address() as AddressInfo).port}/`;
  }

  follow(progress: Progress): Progress {
    return {
      start: (label, total) => {
        progress.start(label, total);
        this.#current = { label, done: 0, total, note: "" };
        this.#history = [];
        this.#startedMs = performance.now();
        this.#changed();
      },
      update: (done, note = "") => {
        progress.update(done, note);
        this.#current = { ...this.#current, done, note };
        this.#remember(done);
        this.#changed();
      },
      finish: (message) => {
        progress.finish(message);
        this.#lines.push(message ?? this.#current.label);
        this.#lines.splice(0, this.#lines.length - maxLines);
        this.#changed();
      },
    };
  }

  addStage(variant: string, stage: BenchStage | RateStage): void {
    const own = this.#levels.get(variant) ?? [];
    const { meanInFlight: inFlight, requestsPerSecond, outputTokensPerSecond, tpotMs } = stage;
    own.push({ ...kindOf(stage), inFlight, requestsPerSecond, medians: null, outputTokensPerSecond, tpotMs });
    this.#levels.set(variant, own);
    this.#changed();
  }

  finish({ recommendation }: ComparisonRecord): void {
    this.#recommendation = recommendation?.text ?? "Done.";
    this.#send();
    for (const listener of this.#listeners) listener.write("event: end\ndata: {}\n\n");
  }

  async close(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    for (const listener of this.#listeners) listener.end();
    await new Promise((resolve) => {
      this.#server.close(resolve);
      this.#server.closeAllConnections();
    });
  }

  /** A point for each look, thinned to every second one where they become too many. */
  #remember(done: number): void {
    this.#history.push({ atMs: performance.now() - this.#startedMs, done });
    if (this.#history.length > maxHistory)
      this.#history = this.#history.filter((_, index) => index % 2 === 0);
  }

  #answer({ url, headers }: IncomingMessage, response: ServerResponse): void {
    const status = statusFor(headers);
    if (status !== 200) {
      response
        .writeHead(status, { "content-type": "text/plain" })
        .end(`No page of another site may come here. Open ${this.url} in a browser on this machine.\n`);
      return;
    }
    if (url === "/") {
      response
        .writeHead(200, { "content-type": "text/html; charset=utf-8" })
        .end(renderLivePage(this.#title));
      return;
    }
    if (url !== "/events") {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
    this.#listeners.add(response);
    response.once("close", () => this.#listeners.delete(response));
    response.write(this.#event());
  }

  #changed(): void {
    this.#timer ??= setTimeout(() => this.#send(), refreshMs).unref();
  }

  #send(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#listeners.size === 0) return;
    const event = this.#event();
    for (const listener of this.#listeners) listener.write(event);
  }

  #event(): string {
    const { done, total } = this.#current;
    const share = total === 0 ? 0 : done / total;
    const elapsedMs = performance.now() - this.#startedMs;
    const fragment = renderLiveFragment({
      title: this.#title,
      current: this.#current,
      leftMs: share > 0.02 && share < 1 ? (elapsedMs / share) * (1 - share) : null,
      history: this.#history,
      lines: this.#lines,
      levels: this.#levels,
      recommendation: this.#recommendation,
    });
    return `data: ${JSON.stringify(fragment)}\n\n`;
  }
}

/** 200 where a request may come in, else what keeps other sites' pages away. */
function statusFor({ host: name = "", origin }: IncomingMessage["headers"]): number {
  try {
    guard.check(name, origin, "inference");
    return 200;
  } catch (error) {
    if (isMillraceError(error)) return httpStatusOf(error);
    throw error;
  }
}
