import { MillraceError } from "../../base/errors.ts";
import { invariant } from "../../base/invariant.ts";
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
  /** Of those the ones that wait for the engine to come: it is not idle for them. */
  #numWaiting = 0;
  /** Starts and stops, one after the other. */
  #turn: Promise<unknown> = Promise.resolve();
  #whenIdle: (() => void)[] = [];

  constructor(engine: EngineClient, parts: PooledParts) {
    this.#engine = engine;
    this.#info = engine.info;
    this.#parts = parts;
    this.lastUsedAt = parts.now();
    this.adapters = engine.adapters === null ? null : this.#adapterHost(engine.adapters.initial);
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
    const isHere = this.#engine !== null && this.#state === "loaded";
    // What is there takes the request at once, as every engine does.
    const outputs = isHere ? this.#engine!.generate(request) : null;
    this.lastUsedAt = this.#parts.now();
    return this.#counted(async () => outputs ?? (await this.#ready()).generate(request));
  }

  score(request: ScoreRequest, signal?: AbortSignal): Promise<ScoreResult> {
    return this.#whileOpen((engine) => engine.score(request, signal));
  }

  embed(request: EmbedRequest, signal?: AbortSignal): Promise<Float32Array> {
    return this.#whileOpen((engine) => engine.embed(request, signal));
  }

  abort(requestId: string): void {
    this.#engine?.abort(requestId);
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
    if (this.#state === "asleep") this.#state = "unloaded";
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
      const engine = this.#engine;
      if (engine === null) return;
      if (mode === "wait") await this.#idle();
      this.#lastStats = resting(await engine.stats());
      await engine.close();
      this.#engine = null;
    });
  }

  /** For what is counted as open: the engine, started where it is away. Errors: `model_asleep`, and those of `start` and `makeRoom`. */
  async #ready(): Promise<EngineClient> {
    if (this.#state === "asleep") throw asleep(this.#parts.id);
    if (this.#state === "loaded" && this.#engine !== null) return this.#engine;
    this.#numWaiting += 1;
    try {
      return await this.#inTurn(() => this.#takeIn());
    } finally {
      this.#numWaiting -= 1;
    }
  }

  async #takeIn(): Promise<EngineClient> {
    if (this.#state === "asleep") throw asleep(this.#parts.id);
    if (this.#engine === null) await this.#start();
    this.#state = "loaded";
    return this.#engine!;
  }

  async #start(): Promise<void> {
    this.#state = "loading";
    try {
      await this.#parts.makeRoom?.();
      const engine = await this.#parts.start();
      for (const source of this.#adapters.values()) await engine.adapters!.load(source);
      this.#engine = engine;
      this.#info = engine.info;
    } catch (error) {
      this.#state = "unloaded";
      throw error;
    }
  }

  async #whileOpen<T>(work: (engine: EngineClient) => Promise<T>): Promise<T> {
    this.lastUsedAt = this.#parts.now();
    this.#numOpen += 1;
    try {
      return await work(await this.#ready());
    } finally {
      this.#end();
    }
  }

  /** The same outputs, counted as open from the first question for one to the last, or until they are left. */
  #counted(open: () => Promise<AsyncIterable<EngineOutput>>): AsyncIterable<EngineOutput> {
    return {
      [Symbol.asyncIterator]: () => {
        this.#numOpen += 1;
        return new CountedOutputs(open(), () => this.#end());
      },
    };
  }

  #end(): void {
    this.#numOpen -= 1;
    this.lastUsedAt = this.#parts.now();
    if (this.#isIdle()) for (const resolve of this.#whenIdle.splice(0)) resolve();
  }

  #idle(): Promise<void> {
    if (this.#isIdle()) return Promise.resolve();
    return new Promise((resolve) => this.#whenIdle.push(resolve));
  }

  #isIdle(): boolean {
    return this.#numOpen === this.#numWaiting;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => {});
    return turn;
  }

  #adapterHost(initial: readonly AdapterInfo[]): AdapterHost {
    return {
      initial,
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

/** Outputs on their way, with `onEnd` once, however they end. Leaving them is not held up by one that is awaited. */
class CountedOutputs implements AsyncIterator<EngineOutput> {
  readonly #outputs: Promise<AsyncIterator<EngineOutput>>;
  #onEnd: (() => void) | null;

  constructor(outputs: Promise<AsyncIterable<EngineOutput>>, onEnd: () => void) {
    this.#outputs = outputs.then((iterable) => iterable[Symbol.asyncIterator]());
    // Told by `next`; who leaves before does not want to know.
    this.#outputs.catch(() => {});
    this.#onEnd = onEnd;
  }

  async next(): Promise<IteratorResult<EngineOutput>> {
    try {
      const result = await (await this.#outputs).next();
      if (result.done === true) this.#end();
      return result;
    } catch (error) {
      this.#end();
      throw error;
    }
  }

  async return(): Promise<IteratorResult<EngineOutput>> {
    this.#end();
    await this.#outputs.then((outputs) => outputs.return?.()).catch(() => {});
    return { done: true, value: undefined };
  }

  #end(): void {
    this.#onEnd?.();
    this.#onEnd = null;
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
