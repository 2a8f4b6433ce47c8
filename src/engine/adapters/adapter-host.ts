import { fromWire, toWire, type WireError } from "../../base/errors.ts";
import type { AdapterHost, AdapterInfo, AdapterSource } from "../../protocol/engine-client.ts";
import type { AdapterCommand } from "../engine-command.ts";
import type { AdapterTable, LoadedAdapters } from "./adapter-table.ts";

/** The host of an engine in the caller's thread; `take` puts a command into the engine's inbox. */
export function createAdapterHost(
  { table: { maxNumAdapters }, initial }: LoadedAdapters,
  take: (command: AdapterCommand) => void,
): AdapterHost {
  const ask = <T>(change: (table: AdapterTable) => T): Promise<T> =>
    new Promise((resolve, reject) => {
      take({ kind: "adapters", handle: -1, change: (table) => resolve(change(table)), refuse: reject });
    });
  return {
    initial,
    maxNumAdapters,
    load: (source) => ask((table) => table.load(source)),
    unload: (name) => ask((table) => table.unload(name)),
  };
}

/** To the engine's thread. */
export type AdapterChange =
  | { readonly kind: "load"; readonly source: AdapterSource }
  | { readonly kind: "unload"; readonly name: string };

/** From the engine's thread, one for each change in their order. */
export type AdapterAnswer =
  | { readonly kind: "done"; readonly info: AdapterInfo | null }
  | { readonly kind: "refused"; readonly error: WireError };

/** Does in the engine's thread what was asked, and says what came of it. */
export async function applyChange(host: AdapterHost, change: AdapterChange): Promise<AdapterAnswer> {
  try {
    if (change.kind === "load") return { kind: "done", info: await host.load(change.source) };
    await host.unload(change.name);
    return { kind: "done", info: null };
  } catch (error) {
    return { kind: "refused", error: toWire(error) };
  }
}

/** What the engine's thread says of its adapters at the start. */
export type HostedAdapters = Pick<AdapterHost, "initial" | "maxNumAdapters">;

interface Open {
  readonly resolve: (info: AdapterInfo | null) => void;
  readonly reject: (error: Error) => void;
}

/** The host of an engine in another thread. */
export class RemoteAdapters implements AdapterHost {
  readonly initial: readonly AdapterInfo[];
  readonly maxNumAdapters: number;
  readonly #post: (change: AdapterChange) => void;
  readonly #open: Open[] = [];
  #failure: Error | null = null;

  constructor({ initial, maxNumAdapters }: HostedAdapters, post: (change: AdapterChange) => void) {
    this.initial = initial;
    this.maxNumAdapters = maxNumAdapters;
    this.#post = post;
  }

  async load(source: AdapterSource): Promise<AdapterInfo> {
    return (await this.#ask({ kind: "load", source }))!;
  }

  async unload(name: string): Promise<void> {
    await this.#ask({ kind: "unload", name });
  }

  receive(answer: AdapterAnswer): void {
    const open = this.#open.shift();
    if (answer.kind === "done") open?.resolve(answer.info);
    else open?.reject(fromWire(answer.error));
  }

  /** Rejects what is open, and everything that comes later. */
  failAll(error: Error): void {
    this.#failure ??= error;
    for (const { reject } of this.#open.splice(0)) reject(error);
  }

  #ask(change: AdapterChange): Promise<AdapterInfo | null> {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#open.push({ resolve, reject });
      this.#post(change);
    });
  }
}
