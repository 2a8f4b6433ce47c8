import { MillraceError } from "../../base/errors.ts";
import { formatBytes } from "../../base/units.ts";
import type { ServedModel } from "../served-model.ts";
import type { PooledClient } from "./pooled-client.ts";

/** A model whose engine can be put away. */
export interface PooledModel {
  readonly model: ServedModel;
  readonly client: PooledClient;
  /** What its engine takes, from its files' headers. */
  readonly sizeBytes: number;
}

/** Makes a model ready to be served. Errors: those of its files, `out_of_memory`. */
export type OpenModel = (name: string, path: string) => Promise<PooledModel>;

/**
 * The models of a server and the memory that they may take together. One that is to be loaded makes the ones give way that
 * have no open request, the one that was asked longest ago first; where that is not enough, it is refused.
 */
export class ModelPool {
  readonly #maxBytes: number;
  readonly #members = new Map<string, PooledModel>();
  readonly #open: OpenModel;
  /** Names of models that are being opened. */
  readonly #opening = new Set<string>();
  /** Rooms are made one after the other: two loads must not count on the same memory. */
  #turn: Promise<unknown> = Promise.resolve();

  /** @param maxBytes Infinity for no budget */
  constructor(maxBytes: number, open: OpenModel) {
    this.#maxBytes = maxBytes;
    this.#open = open;
  }

  get members(): Iterable<PooledModel> {
    return this.#members.values();
  }

  find(id: string): PooledModel | undefined {
    return this.#members.get(id);
  }

  add(member: PooledModel): void {
    this.#members.set(member.model.id, member);
  }

  /** Whether a name is that of a model here, or of one that is being opened. */
  has(name: string): boolean {
    return this.#members.has(name) || this.#opening.has(name);
  }

  /** Loads a model under a name that is free. Errors: those of `OpenModel`. */
  async open(name: string, path: string): Promise<ServedModel> {
    this.#opening.add(name);
    try {
      const member = await this.#open(name, path);
      this.add(member);
      return member.model;
    } finally {
      this.#opening.delete(name);
    }
  }

  /** Before an engine of this size starts. Errors: `out_of_memory`. */
  makeRoom(id: string, sizeBytes: number): Promise<void> {
    const turn = this.#turn.then(() => this.#evict(id, sizeBytes));
    this.#turn = turn.catch(() => {});
    return turn;
  }

  async close(): Promise<void> {
    for (const { client } of this.members) await client.close();
  }

  async #evict(id: string, sizeBytes: number): Promise<void> {
    const others = [...this.members].filter((other) => other.model.id !== id);
    const taken = (): number =>
      others.reduce((sum, { client, sizeBytes: own }) => (isHere(client) ? sum + own : sum), 0);
    const idle = others
      .filter(({ client }) => client.state === "loaded" && client.numOpen === 0)
      .sort((a, b) => a.client.lastUsedAt - b.client.lastUsedAt);
    const busyBytes = taken() - idle.reduce((sum, { sizeBytes: own }) => sum + own, 0);
    if (busyBytes + sizeBytes > this.#maxBytes) throw this.#noRoom(id, sizeBytes, busyBytes);
    for (const { client } of idle) {
      if (taken() + sizeBytes <= this.#maxBytes) return;
      await client.unload();
    }
  }

  #noRoom(id: string, sizeBytes: number, busyBytes: number): MillraceError {
    const busy = busyBytes === 0 ? "" : `, and models with open requests take ${formatBytes(busyBytes)}`;
    return new MillraceError(
      "out_of_memory",
      `The model \`${id}\` takes ${formatBytes(sizeBytes)}; --max-model-memory allows ${formatBytes(this.#maxBytes)} for all ` +
        `together${busy}. ${busyBytes === 0 ? "Start with more, or with a smaller --kv-cache-memory-bytes." : "Try again when they are done."}`,
      busyBytes === 0 ? {} : { retryAfterSeconds: 1 },
    );
  }
}

function isHere({ state }: PooledClient): boolean {
  return state === "loaded" || state === "loading";
}
