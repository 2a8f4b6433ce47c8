import { type Clock, systemClock } from "../base/clock.ts";
import { MillraceError } from "../base/errors.ts";
import { type Logger, silentLogger } from "../base/logger.ts";
import { Admission } from "./access/admission.ts";
import { type ApiKeyOptions, ApiKeys } from "./access/api-keys.ts";
import type { LimitSettings } from "./access/limits.ts";
import { PageGuard } from "./access/page-guard.ts";
import { type CrossOriginRules, defaultOrigins, openToAllOrigins } from "./cross-origin.ts";
import { EngineProbe } from "./engine-probe.ts";
import { defaultClientTimeoutMs } from "./http-server.ts";
import type { ModelPool } from "./pool/model-pool.ts";
import { ModelRegistry, type ServedModel } from "./served-model.ts";
import { ServerMetrics } from "./server-metrics.ts";
import { StatsLog } from "./stats-log.ts";

export interface ServerOptions {
  /** Left out: the server answers 503 until `setReady`. */
  readonly models?: readonly ServedModel[];
  /** Any of these keys opens the server, a text everything of it; none = open to all. */
  readonly apiKeys?: readonly (string | ApiKeyOptions)[];
  /** What all requests together may use; default: no limits. */
  readonly limits?: LimitSettings;
  /** Whether `/metrics`, `/load` and `/version` want a key too, where there are any; default false. */
  readonly guardsMetrics?: boolean;
  readonly logger?: Logger;
  /** Refuse unknown request fields instead of listing them in `x-millrace-warnings`. */
  readonly isStrict?: boolean;
  /** Largest request body; default 32 MiB. */
  readonly maxBodyBytes?: number;
  /** What pages of other origins may do; default: all but send credentials, without keys only pages of this machine. */
  readonly crossOrigin?: CrossOriginRules;
  /** Address that is listened on; default: loopback. */
  readonly host?: string;
  /** Names besides loopback's by which a server without keys may be called; default: none. */
  readonly allowedHosts?: readonly string[];
  /** Whether to log a line for each request that was answered; default false. */
  readonly logsAccess?: boolean;
  /** Whether to log the prompts of requests, and how many characters of each; default: none is. */
  readonly logsPrompts?: number;
  /** A step that takes longer makes `/health` and `/live` answer 503; default 60,000. */
  readonly unhealthyAfterMs?: number;
  /** Time between log lines about throughput; default 10,000. */
  readonly statsIntervalMs?: number;
  /** Whether to have `POST /reset_prefix_cache`, `GET /debug/steps` and `GET /debug/requests`; default false. */
  readonly hasDevEndpoints?: boolean;
  /** How long a client may take to send its request, or to take nothing of its answer; default 120,000. */
  readonly clientTimeoutMs?: number;
  /** Silence of a stream after which a comment is sent; default 15,000. */
  readonly keepAliveMs?: number;
  readonly clock?: Clock;
}

/** A model that has an engine, with what the server keeps about it. */
export interface ModelEntry {
  readonly model: ServedModel;
  readonly probe: EngineProbe;
}

type Phase = "loading" | "ready" | "draining";

const defaultMaxBodyBytes = 32 * 1024 * 1024;

/** What all routes of one server share. */
export class ServerContext {
  readonly logger: Logger;
  readonly clock: Clock;
  readonly isStrict: boolean;
  readonly maxBodyBytes: number;
  readonly hasDevEndpoints: boolean;
  readonly clientTimeoutMs: number;
  readonly keepAliveMs: number;
  readonly crossOrigin: CrossOriginRules;
  readonly logsAccess: boolean;
  readonly logsPrompts: number;
  readonly apiKeys: ApiKeys;
  readonly admission: Admission;
  /** Null where keys keep strangers out. */
  readonly pageGuard: PageGuard | null;
  readonly guardsMetrics: boolean;
  readonly metrics: ServerMetrics;
  /** Null where the engines are somebody else's. */
  pool: ModelPool | null = null;
  readonly #unhealthyAfterMs: number;
  readonly #statsLog: StatsLog;
  readonly #open = new Set<AbortController>();
  #phase: Phase = "loading";
  #registry: ModelRegistry = new ModelRegistry([]);
  #entries: readonly ModelEntry[] = [];
  #whenIdle: (() => void)[] = [];

  constructor(options: ServerOptions = {}) {
    this.logger = options.logger ?? silentLogger;
    this.clock = options.clock ?? systemClock;
    this.isStrict = options.isStrict ?? false;
    this.maxBodyBytes = options.maxBodyBytes ?? defaultMaxBodyBytes;
    this.clientTimeoutMs = options.clientTimeoutMs ?? defaultClientTimeoutMs;
    this.keepAliveMs = options.keepAliveMs ?? 15_000;
    this.hasDevEndpoints = options.hasDevEndpoints ?? false;
    this.logsAccess = options.logsAccess ?? false;
    this.logsPrompts = options.logsPrompts ?? 0;
    this.apiKeys = new ApiKeys(options.apiKeys ?? []);
    const origins = defaultOrigins(!this.apiKeys.isEmpty);
    this.crossOrigin = options.crossOrigin ?? { ...openToAllOrigins, origins };
    const { host = "127.0.0.1", allowedHosts: hosts = [] } = options;
    this.pageGuard = this.apiKeys.isEmpty
      ? new PageGuard({ host, hosts, crossOrigin: this.crossOrigin })
      : null;
    this.admission = new Admission(this.apiKeys, options.limits ?? {}, this.clock);
    this.guardsMetrics = options.guardsMetrics ?? false;
    this.metrics = new ServerMetrics(this.clock);
    this.#unhealthyAfterMs = options.unhealthyAfterMs ?? 60_000;
    this.#statsLog = new StatsLog(this.logger, this.clock, options.statsIntervalMs ?? 10_000);
    if (options.models !== undefined) this.setReady(options.models);
  }

  get phase(): Phase {
    return this.#phase;
  }

  get entries(): readonly ModelEntry[] {
    return this.#entries;
  }

  get numOpenRequests(): number {
    return this.#open.size;
  }

  /** Gives the server its models, and where their engines can be put away; opens it for requests. */
  setReady(models: readonly ServedModel[], pool: ModelPool | null = null): void {
    this.pool = pool;
    this.#setModels(models);
    if (this.#phase === "loading") this.#phase = "ready";
  }

  /** Serves one more model. Errors: `server_not_ready`. */
  addModel(model: ServedModel): void {
    this.#setModels([...this.registry().models, model]);
  }

  /** Takes no more requests for a model; those that are open are not touched. */
  removeModel(id: string): void {
    this.#setModels(this.#registry.models.filter((model) => model.id !== id));
  }

  #setModels(models: readonly ServedModel[]): void {
    this.#registry = new ModelRegistry(models);
    const known = new Map(this.#entries.map(({ model, probe }) => [model.client, probe]));
    // Adapters have the engine of their model.
    const withEngine = models.filter(({ parent }) => parent === undefined);
    this.#entries = withEngine.map((model) => ({
      model,
      probe: known.get(model.client) ?? new EngineProbe(model.client, this.clock, this.#unhealthyAfterMs),
    }));
    this.metrics.setModels(this.#entries, this.pool);
    this.#statsLog.setModels(this.#entries);
  }

  /** From now on new requests are refused. */
  setDraining(): void {
    this.#phase = "draining";
  }

  /** The models, for a request that needs them. Errors: `server_not_ready`. */
  registry(): ModelRegistry {
    if (this.#phase === "ready") return this.#registry;
    const state = this.#phase === "loading" ? "still loading the model" : "shutting down";
    const advice = this.#phase === "loading" ? "Wait until GET /health answers 200." : "Use another replica.";
    throw new MillraceError("server_not_ready", `The server is ${state} and takes no requests. ${advice}`, {
      retryAfterSeconds: 1,
    });
  }

  /** Counts a request as open until `work` is over; `abortOpen` fires its controller. */
  async whileOpen<T>(controller: AbortController, work: () => Promise<T>): Promise<T> {
    this.#open.add(controller);
    this.#statsLog.start();
    try {
      return await work();
    } finally {
      this.#open.delete(controller);
      if (this.#open.size === 0) {
        for (const resolve of this.#whenIdle.splice(0)) resolve();
      }
    }
  }

  /** Ends the open requests now; they get what they have so far, or this error. */
  abortOpen(): void {
    const advice = "Send it to another replica, or again when the server is back.";
    const reason = new MillraceError(
      "server_not_ready",
      `The server is shutting down and ended the request before its answer was complete. ${advice}`,
      { retryAfterSeconds: 1 },
    );
    for (const controller of this.#open) controller.abort(reason);
  }

  /** Resolves as soon as no request is open. */
  idle(): Promise<void> {
    if (this.#open.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#whenIdle.push(resolve));
  }

  /** Stops the log timer. */
  stop(): void {
    this.#statsLog.stop();
  }
}
