import type { Logger } from "../base/logger.ts";
import { formatCount } from "../base/units.ts";
import type { EngineOptions } from "../engine/engine-options.ts";
import { planEngine } from "../engine/engine-plan.ts";
import { openDraft } from "../engine/speculation/load-speculation.ts";
import { type StartingEngine, startEngine } from "../engine/worker-client.ts";
import { freeMemoryBytes } from "../kernels/free-memory.ts";
import { isEncoder } from "../model/registry.ts";
import type { EngineClient } from "../protocol/engine-client.ts";
import { ModelPool, type PooledModel } from "../server/pool/model-pool.ts";
import { PooledClient } from "../server/pool/pooled-client.ts";
import { engineOptionsOf } from "./engine-options.ts";
import { openModel } from "./model-source.ts";
import type { ServeSettings } from "./serve-settings.ts";
import { describeModel, type ModelChoice } from "./served-model.ts";

/** What a model of a pool is opened with. */
interface PooledChoice extends ModelChoice {
  readonly options: EngineOptions;
  /** Its engine, where it is on its way already. */
  readonly starting?: StartingEngine;
}

/** The models of `serve` and the threads of their engines. */
export class EnginePool {
  readonly pool: ModelPool;
  /** Rejects when an engine's thread ends without being told to. */
  readonly died: Promise<never>;
  readonly #settings: ServeSettings;
  readonly #logger: Logger;
  readonly #maxBytes: number;
  readonly #closers: (() => Promise<void>)[] = [];
  #onDeath: () => void = () => {};

  constructor(settings: ServeSettings, logger: Logger, deathError: () => Error) {
    this.#settings = settings;
    this.#logger = logger;
    this.#maxBytes = settings.server.maxModelMemory ?? Number.POSITIVE_INFINITY;
    this.pool = new ModelPool(this.#maxBytes, (name, path) => this.#openFurther(name, path));
    this.died = new Promise((_, reject) => {
      this.#onDeath = () => reject(deathError());
    });
    this.died.catch(() => {});
  }

  /** Loads a model and puts it into the pool. Errors: those of its files, `out_of_memory`. */
  async open(choice: PooledChoice): Promise<PooledModel> {
    const member = await this.#open(choice);
    this.pool.add(member);
    return member;
  }

  async close(): Promise<void> {
    await Promise.all(this.#closers.map((close) => close()));
    await this.pool.close();
  }

  /** A model that has no flags of its own: those that name files are the first one's. */
  #openFurther(id: string, modelPath: string): Promise<PooledModel> {
    const { engine } = this.#settings;
    const { specModel: _draft, ...own } = engine;
    const specMethod = engine.specMethod === "draft" ? undefined : engine.specMethod;
    const specTokens = specMethod === undefined ? undefined : engine.specTokens;
    this.#logger.info(`Loading the model ${id} from ${modelPath}`);
    const asked = engineOptionsOf(modelPath, { ...own, specMethod, specTokens, specModel: undefined });
    return this.#open({ id, aliases: [], modelPath, source: {}, options: this.#fitted(id, asked) });
  }

  /** Flags were chosen for the first model: one that cannot have all of them does without, and the log says so. */
  #fitted(id: string, options: EngineOptions): EngineOptions {
    const checkpoint = openModel(options.modelPath);
    const { architecture, maxPositionEmbeddings } = checkpoint.config;
    checkpoint.close();
    const { maxModelLen, speculation } = options;
    const isTooLong = typeof maxModelLen === "number" && maxModelLen > maxPositionEmbeddings;
    const guesses = speculation !== undefined && speculation !== null && isEncoder(architecture);
    if (isTooLong) {
      const made = `${id} was made for at most ${formatCount(maxPositionEmbeddings)} positions`;
      this.#logger.info(`--max-model-len ${formatCount(maxModelLen)} is not for it: ${made}`);
    }
    if (guesses) this.#logger.info(`The flags of speculation are not for ${id}, which makes embeddings`);
    return {
      ...options,
      ...(isTooLong ? { maxModelLen: null } : {}),
      ...(guesses ? { speculation: null } : {}),
    };
  }

  async #open({ options, starting, ...choice }: PooledChoice): Promise<PooledModel> {
    const { id } = choice;
    const sizeBytes = this.#measure(options);
    const makeRoom = (): Promise<void> => this.pool.makeRoom(id, sizeBytes);
    await makeRoom();
    const start = (): Promise<EngineClient> => this.#watched(startEngine(options));
    const engine = starting === undefined ? await start() : await this.#watched(starting);
    const onChange = (state: string): void => this.#logger.info(`The model ${id} is ${state}`);
    const client = new PooledClient(engine, { id, start, makeRoom, now: () => performance.now(), onChange });
    const { model, close } = describeModel(client, choice, this.#settings, this.#logger);
    this.#closers.push(close);
    return { model, client, sizeBytes };
  }

  /** Bytes that an engine takes, from headers; not asked for where nothing depends on it. */
  #measure(options: EngineOptions): number {
    if (this.#maxBytes === Number.POSITIVE_INFINITY) return 0;
    const checkpoint = openModel(options.modelPath);
    try {
      if (isEncoder(checkpoint.config.architecture)) return checkpoint.sizeBytes;
      const draft = openDraft(options, checkpoint);
      // Those that give way make at least the budget free.
      const freeBytes = Math.max(freeMemoryBytes(), this.#maxBytes);
      const { totalBytes } = planEngine(options, checkpoint, draft, freeBytes);
      draft?.close();
      return totalBytes;
    } finally {
      checkpoint.close();
    }
  }

  async #watched(starting: StartingEngine): Promise<EngineClient> {
    const client = await starting.client;
    let isAsked = false;
    void starting.exited.then(() => isAsked || this.#onDeath());
    return {
      ...client,
      close: () => {
        isAsked = true;
        return client.close();
      },
    };
  }
}
