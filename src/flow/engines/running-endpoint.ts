import type { Endpoint } from "../../client/endpoint.ts";
import type { EndpointLauncher, LaunchedEndpoint, MemoryPlan } from "../../protocol/endpoint-launcher.ts";
import { askServer } from "./ask-server.ts";
import type { LaunchOptions } from "./engine-process.ts";
import { readServerFacts } from "./server-facts.ts";
import { waitUntilReady } from "./wait-until-ready.ts";

/** A server that somebody else started and stops: it is measured as it stands. */
export class RunningEndpoint implements EndpointLauncher {
  readonly flags = "started by somebody else";
  readonly takesTokenIds = false;
  readonly hasOurKernels = false;
  readonly ended = null;
  readonly #endpoint: Endpoint;
  readonly #options: LaunchOptions;

  constructor(url: string, options: LaunchOptions) {
    this.#endpoint = { url, apiKey: options.apiKey };
    this.#options = options;
  }

  async version(): Promise<string> {
    const { url } = this.#endpoint;
    const version = versionIn(await askServer(this.#endpoint, "/version", this.#options.signal));
    return version === null ? url : `${url} (version ${version})`;
  }

  /** It may be another server than it was. */
  async programId(): Promise<null> {
    return null;
  }

  start(): Promise<LaunchedEndpoint> {
    return Promise.resolve({ url: this.#endpoint.url, apiKey: this.#options.apiKey, pid: null });
  }

  async ready(): Promise<null> {
    const { readyTimeoutMs: timeoutMs, signal } = this.#options;
    const endpoint = this.#endpoint;
    const server = { ended: null, logFile: null, isStarting: false };
    await waitUntilReady({ endpoint, name: endpoint.url, timeoutMs, signal, ...server });
    return null;
  }

  processMemory(): null {
    return null;
  }

  async memoryPlan(): Promise<MemoryPlan | null> {
    return (await readServerFacts(this.#endpoint, this.#options.signal)).memoryPlan;
  }

  async kvCacheTokens(): Promise<number | null> {
    return (await readServerFacts(this.#endpoint, this.#options.signal)).kvCacheTokens;
  }

  async stop(): Promise<void> {}
}

/** The `version` of a JSON object; null where there is none. */
function versionIn(text: string | null): string | null {
  try {
    const body = JSON.parse(text ?? "null") as { readonly version?: unknown } | null;
    return typeof body?.version === "string" ? body.version : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}
