import { MillraceError } from "../../base/errors.ts";
import { invariant } from "../../base/invariant.ts";
import { onAbort } from "../../base/on-abort.ts";
import type {
  AdapterHost,
  AdapterInfo,
  EmbedRequest,
  EngineClient,
  EngineInfo,
  EngineOutput,
  EngineStats,
  GenerateRequest,
  RequestTrace,
  ScoreRequest,
  ScoreResult,
  StepTrace,
} from "../../protocol/engine-client.ts";
import { abortedOutputs, CountedOutputs, EngineUse } from "./engine-use.ts";

/** `asleep` refuses requests until it is woken; `unloaded` loads again with the next request. */
export type PoolState = "loaded" | "loading" | "unloaded" | "asleep";

/** What a pool does for one of its models. */
export interface PooledParts {
  readonly id: string;
  /** A running engine; called again whenever it is needed and not there. */
  readonly start: () => Promise<EngineClient>;
  /** Makes room in the pool's budget before a start; default: there is always room. Errors: `out_of_memory`. */
  readonly makeRoom?: () => Promise<void>;
  readonly now: () => number;
  /** Called when it has come back, and when it is put away. */
  readonly onChange?: (state: Exclude<PoolState, "loading">) => void;
}

/**
 * An engine that can be put away and comes back: what is asked of it while it is away starts it first. Adapters that were
 * loaded while it ran come back with it.
 */
export class PooledClient implements EngineClient {
  readonly adapters: AdapterHost | null;
  /** When it was last asked, by `now`. */
  lastUsedAt: number;
  readonly #parts: PooledParts;
  /** Loaded since the start, by name. */
  readonly #adapters = new Map<string, AdapterInfo>();
  #engine: EngineClient | null;
  #info: EngineInfo;
  #lastStats: EngineStats | null = null;
  #state: PoolState = "loaded";
  #numOpen = 0;
  /** Of those the ones that have the engine: it is put away when there are none. */
  #numHolding = 0;
  /** Requests that wait for the engine to come, by their ids: no engine knows them yet. */
  readonly #waiting = new Map<EngineUse, string>();
  /** Starts and stops, one after the other. */
  #turn: Promise<unknown> = Promise.resolve();
  #whenIdle: (() => void)[] = [];

  constructor(engine: EngineClient, parts: PooledParts) {
    this.#engine = engine;
    this.#info = engine.info;
    this.#parts = parts;
    this.lastUsedAt = parts.now();
    this.adapters = engine.adapters === null ? null : this.#adapterHost(engine.adapters);
  }

  get info(): EngineInfo {
    return this.#info;
  }

  get state(): PoolState {
    return this.#state;
  }

  /** Requests that are being answered, loads of adapters included. */
  get numOpen(): number {
    return this.#numOpen;
  }

  generate(request: GenerateRequest): AsyncIterable<EngineOutput> {
    this.lastUsedAt = this.#parts.now();
    const use = new EngineUse();
    if (this.#engine === null || this.#state !== "loaded") {
      this.#waiting.set(use, request.requestId);
      return this.#counted(use, () => this.#outputsOnceHere(use, request));
    }
    // What is there takes the request at once, as every engine does.
    const outputs = this.#engine.generate(request);
    return this.#counted(use, async () => {
      this.#hold(use);
      return outputs;
    });
  }

  score(request: ScoreRequest, signal?: AbortSignal): Promise<ScoreResult> {
    return this.#whileOpen((engine) => engine.score(request, signal), signal);
  }

  embed(request: EmbedRequest, signal?: AbortSignal): Promise<Float32Array> {
    return this.#whileOpen((engine) => engine.embed(request, signal), signal);
  }

  abort(requestId: string): void {
    this.#engine?.abort(requestId);
    for (const [use, id] of this.#waiting) {
      if (id !== requestId) continue;
      use.leave();
      this.#waiting.delete(use);
    }
  }

  /** Of an engine that is away: what it last said, with nothing running. */
  async stats(): Promise<EngineStats> {
    if (this.#engine !== null) return (this.#lastStats = await this.#engine.stats());
    invariant(this.#lastStats !== null, "an engine was put away without a last look at it");
    return this.#lastStats;
  }

  async recentSteps(): Promise<readonly StepTrace[]> {
    return (await this.#engine?.recentSteps()) ?? [];
  }

  async recentRequests(): Promise<readonly RequestTrace[]> {
    return (await this.#engine?.recentRequests()) ?? [];
  }

  resetPrefixCache(): void {
    this.#engine?.resetPrefixCache();
  }

  /** Starts the engine where it is away, one that sleeps too. Errors: those of `start` and `makeRoom`. */
  async load(): Promise<void> {
    await this.#inTurn(async () => {
      if (this.#state === "asleep") this.#state = "unloaded";
    });
    await this.#whileOpen(async () => {});
  }

  /** Puts the engine away once its open requests are answered; the next request brings it back. */
  unload(): Promise<void> {
    return this.#putAway("unloaded", "wait");
  }

  /** Puts the engine away until `load`; requests are refused meanwhile. `abort` ends open ones. */
  sleep(mode: "abort" | "wait"): Promise<void> {
    return this.#putAway("asleep", mode);
  }

  close(): Promise<void> {
    return this.#inTurn(async () => {
      await this.#engine?.close();
      this.#engine = null;
    });
  }

  #putAway(state: "unloaded" | "asleep", mode: "abort" | "wait"): Promise<void> {
    // From here on requests wait for this turn to end, or are refused.
    this.#state = state;
    return this.#inTurn(async () => {
      // A start that this waited for has said otherwise.
      this.#state = state;
      if (this.#engine !== null) {
        if (mode === "wait") await this.#idle();
        this.#lastStats = resting(await this.#engine.stats());
        await this.#engine.close();
        this.#engine = null;
      }
      this.#parts.onChange?.(state);
    });
  }

  /** The outputs of a request that the engine is to start for; one that is aborted before has its last output at once. */
  async #outputsOnceHere(use: EngineUse, request: GenerateRequest): Promise<AsyncIterable<EngineOutput>> {
    try {
      const engine = await this.#ready(use);
      return engine === null ? abortedOutputs(request.requestId) : engine.generate(request);
    } finally {
      this.#waiting.delete(use);
    }
  }

  /**
   * The engine, started where it is away; null as soon as the use is left. Errors: `model_asleep`, and those of `start` and
   * `makeRoom`.
   */
  async #ready(use: EngineUse): Promise<EngineClient | null> {
    if (this.#state === "asleep") throw asleep(this.#parts.id);
    if (this.#state === "loaded" && this.#engine !== null) {
      this.#hold(use);
      return this.#engine;
    }
    const engine = await Promise.race([this.#inTurn(() => this.#takeIn(use)), use.left]);
    return use.isLeft ? null : engine;
  }

  async #takeIn(use: EngineUse): Promise<EngineClient | null> {
    // Nobody else waits in this turn: the engine need not come for one that has left.
    if (use.isLeft) return null;
    if (this.#state === "asleep") throw asleep(this.#parts.id);
    if (this.#engine === null) await this.#start();
    this.#state = "loaded";
    this.#hold(use);
    return this.#engine;
  }

  async #start(): Promise<void> {
    this.#state = "loading";
    try {
      await this.#parts.makeRoom?.();
      const engine = await this.#parts.start();
      for (const source of this.#adapters.values()) await engine.adapters!.load(source);
      this.#engine = engine;
      this.#info = engine.info;
      this.#parts.onChange?.("loaded");
    } catch (error) {
      this.#state = "unloaded";
      throw error;
    }
  }

  async #whileOpen<T>(work: (engine: EngineClient) => Promise<T>, signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted();
    const use = new EngineUse();
    const ignore = onAbort(signal, () => use.leave());
    this.#begin();
    try {
      const engine = await this.#ready(use);
      if (engine === null) throw signal!.reason;
      return await work(engine);
    } finally {
      ignore();
      this.#end(use);
    }
  }

  /** The same outputs, counted as open from the first question for one to the last, or until they are left. */
  #counted(use: EngineUse, open: () => Promise<AsyncIterable<EngineOutput>>): AsyncIterable<EngineOutput> {
    return {
      [Symbol.asyncIterator]: () => {
        this.#begin();
        return new CountedOutputs(open(), () => this.#end(use));
      },
    };
  }

  #begin(): void {
    this.#numOpen += 1;
    this.lastUsedAt = this.#parts.now();
  }

  /** Within a turn, so that none that puts the engine away comes between. */
  #hold(use: EngineUse): void {
    if (use.isLeft) return;
    use.isHolding = true;
    this.#numHolding += 1;
  }

  #end(use: EngineUse): void {
    use.leave();
    this.#numOpen -= 1;
    if (use.isHolding) this.#numHolding -= 1;
    this.lastUsedAt = this.#parts.now();
    if (this.#numHolding === 0) for (const resolve of this.#whenIdle.splice(0)) resolve();
  }

  #idle(): Promise<void> {
    if (this.#numHolding === 0) return Promise.resolve();
    return new Promise((resolve) => this.#whenIdle.push(resolve));
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => {});
    return turn;
  }

  #adapterHost({ initial, maxNumAdapters }: AdapterHost): AdapterHost {
    return {
      initial,
      maxNumAdapters,
      load: (source) =>
        this.#whileOpen(async ({ adapters }) => {
          const info = await adapters!.load(source);
          this.#adapters.set(source.name, info);
          return info;
        }),
      unload: (name) =>
        this.#whileOpen(async ({ adapters }) => {
          await adapters!.unload(name);
          this.#adapters.delete(name);
        }),
    };
  }
}

/** The figures of an engine that is put away. */
function resting(stats: EngineStats): EngineStats {
  const { numTotalBlocks: numFreeBlocks } = stats;
  const nothing = { numRunning: 0, numWaiting: 0, numDeferred: 0, numWaitingTokens: 0, numSwapped: 0 };
  return { ...stats, ...nothing, numFreeBlocks, retryAfterSeconds: 0, lastStepAgeMs: 0 };
}

function asleep(id: string): MillraceError {
  return new MillraceError(
    "model_asleep",
    `The model \`${id}\` sleeps and takes no requests. Wake it by POST /wake_up, or use another model.`,
    { param: "model" },
  );
}
