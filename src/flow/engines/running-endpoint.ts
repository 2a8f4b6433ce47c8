import type { EndpointLauncher, MemoryPlan } from "../../protocol/endpoint-launcher.ts";
import type { LaunchOptions } from "./engine-process.ts";
import { readServerFacts } from "./server-facts.ts";
import { waitUntilReady } from "./wait-until-ready.ts";

/** A server that somebody else started and stops: it is measured as it stands. */
export class RunningEndpoint implements EndpointLauncher {
  readonly flags = "started by somebody else";
  readonly takesTokenIds = false;
  readonly hasOurKernels = false;
  readonly ended = null;
  readonly #url: string;
  readonly #options: LaunchOptions;

  constructor(url: string, options: LaunchOptions) {
    this.#url = url;
    this.#options = options;
  }

  async version(): Promise<string> {
    const answer = await fetch(`${this.#url}/version`).catch(() => null);
    const body: unknown = answer?.ok === true ? await answer.json().catch(() => null) : null;
    const version = (body as { version?: unknown } | null)?.version;
    return typeof version === "string" ? `${this.#url} (version ${version})` : this.#url;
  }

  start(): Promise<{ readonly url: string; readonly pid: null }> {
    return Promise.resolve({ url: this.#url, pid: null });
  }

  async ready(): Promise<number> {
    const { readyTimeoutMs: timeoutMs, signal } = this.#options;
    const started = performance.now();
    const url = this.#url;
    await waitUntilReady({ url, name: url, timeoutMs, signal, ended: null, isStarting: false });
    return performance.now() - started;
  }

  processMemory(): null {
    return null;
  }

  async memoryPlan(): Promise<MemoryPlan | null> {
    return (await readServerFacts(this.#url)).memoryPlan;
  }

  async kvCacheTokens(): Promise<number | null> {
    return (await readServerFacts(this.#url)).kvCacheTokens;
  }

  async stop(): Promise<void> {}
}
