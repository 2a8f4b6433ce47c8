import { MillraceError } from "../../base/errors.ts";
import { invariant } from "../../base/invariant.ts";
import { formatBytes } from "../../base/units.ts";
import { type AdapterFile, openAdapter } from "../../formats/peft-adapter.ts";
import { freeMemoryBytes } from "../../kernels/free-memory.ts";
import type { AdaptedRows } from "../../kernels/low-rank-deltas.ts";
import { mapFile } from "../../kernels/map-file.ts";
import type { Ops } from "../../kernels/ops.ts";
import { type AdaptableLinears, adapterBytes, freeAdapter, packAdapter } from "../../model/pack-adapter.ts";
import type { AdapterInfo, AdapterSource } from "../../protocol/engine-client.ts";

/** What an engine takes of adapters. */
export interface AdapterLimits {
  readonly maxRank: number;
  /** Most that are loaded at once. */
  readonly maxNumAdapters: number;
}

export interface AdapterTableParts {
  /** Of the weights; it adds no deltas itself. */
  readonly ops: Ops;
  readonly linears: AdaptableLinears;
  readonly limits: AdapterLimits;
  /** Where the adapters of a step are listed: what `addLowRankDeltas` reads. */
  readonly adapted: AdaptedRows[];
  /** Most sequences that are open, and most tokens of a step. */
  readonly numRows: number;
  readonly maxNumTokens: number;
  /** Default: what the system has free. */
  readonly freeBytes?: () => number;
}

/** The adapters of an engine, and which of them were loaded at its start. */
export interface LoadedAdapters {
  readonly table: AdapterTable;
  readonly initial: readonly AdapterInfo[];
}

interface Loaded extends AdaptedRows {
  readonly name: string;
  /** Differs between adapters that had the same name one after the other. */
  readonly key: string;
  count: number;
  numOpen: number;
  isUnloaded: boolean;
}

/**
 * The adapters of one model: which are loaded, which sequence wants which, and which rows of a step are whose. One that
 * is unloaded takes no new sequences and is freed with its last one.
 */
export class AdapterTable {
  readonly #parts: AdapterTableParts;
  readonly #loaded = new Map<string, Loaded>();
  /** Of each row of the sequence table. */
  readonly #ofRow: (Loaded | null)[];
  readonly #ones: Float32Array;
  #numLoads = 0;

  constructor(parts: AdapterTableParts) {
    this.#parts = parts;
    this.#ofRow = Array.from({ length: parts.numRows }, () => null);
    this.#ones = new Float32Array(parts.maxNumTokens).fill(1);
  }

  get maxNumAdapters(): number {
    return this.#parts.limits.maxNumAdapters;
  }

  /**
   * Between two steps. Errors: `adapter_exists`, `too_many_adapters`, `out_of_memory`, and those of `openAdapter` and
   * `packAdapter`; then nothing is held.
   */
  load({ name, path }: AdapterSource): AdapterInfo {
    const { ops, linears, maxNumTokens } = this.#parts;
    this.#checkRoom(name);
    const adapter = openAdapter(path, mapFile);
    this.#checkSize(name, adapter);
    const before = ops.memory().weights;
    const deltas = packAdapter(ops, linears, adapter);
    this.#numLoads += 1;
    this.#loaded.set(name, {
      name,
      key: `${name}#${this.#numLoads}`,
      deltas,
      rows: new Int32Array(maxNumTokens),
      weights: this.#ones,
      count: 0,
      numOpen: 0,
      isUnloaded: false,
    });
    return { name, path, rank: adapter.rank, sizeBytes: ops.memory().weights - before };
  }

  /** Errors: `adapter_not_found`. */
  unload(name: string): void {
    const adapter = this.#find(name);
    this.#loaded.delete(name);
    adapter.isUnloaded = true;
    this.#freeIfUnused(adapter);
  }

  /** A new sequence in a row, which wants this adapter or none. Errors: `adapter_not_found`. */
  open(row: number, name: string | undefined): void {
    if (name === undefined) return;
    const adapter = this.#find(name);
    adapter.numOpen += 1;
    this.#ofRow[row] = adapter;
  }

  /** A row that is given back, whether it had an adapter or not. */
  close(row: number): void {
    const adapter = this.#ofRow[row]!;
    if (adapter === null) return;
    this.#ofRow[row] = null;
    adapter.numOpen -= 1;
    this.#freeIfUnused(adapter);
  }

  /** What must be equal for two sequences to share KV; undefined without an adapter. */
  keyOf(row: number): string | undefined {
    return this.#ofRow[row]?.key;
  }

  /** A step begins: no row of its batch has an adapter. */
  beginBatch(): void {
    for (const adapter of this.#parts.adapted as Loaded[]) adapter.count = 0;
    this.#parts.adapted.length = 0;
  }

  /** Tokens [first, first + count) of the batch are those of a row. */
  addTokens(row: number, first: number, count: number): void {
    const adapter = this.#ofRow[row]!;
    if (adapter === null) return;
    if (adapter.count === 0) this.#parts.adapted.push(adapter);
    for (let token = first; token < first + count; token += 1) adapter.rows[adapter.count++] = token;
  }

  #find(name: string): Loaded {
    const adapter = this.#loaded.get(name);
    if (adapter !== undefined) return adapter;
    const names = [...this.#loaded.keys()].map((known) => `\`${known}\``).join(", ") || "none";
    throw new MillraceError(
      "adapter_not_found",
      `The adapter \`${name}\` is not loaded; loaded are ${names}. Load it first, or use one of these.`,
      { param: "model" },
    );
  }

  #freeIfUnused(adapter: Loaded): void {
    invariant(adapter.numOpen >= 0, `the adapter ${adapter.name} is closed more often than opened`);
    if (!adapter.isUnloaded || adapter.numOpen > 0) return;
    freeAdapter(this.#parts.ops, adapter.deltas);
  }

  #checkRoom(name: string): void {
    const { maxNumAdapters } = this;
    if (this.#loaded.has(name)) {
      throw new MillraceError(
        "adapter_exists",
        `An adapter \`${name}\` is loaded already. Choose another name, or unload it first.`,
        { param: "lora_name" },
      );
    }
    if (this.#loaded.size < maxNumAdapters) return;
    throw new MillraceError(
      "too_many_adapters",
      `${maxNumAdapters} adapters are loaded, which is the most that --max-cpu-loras allows. Unload one, or start with more.`,
    );
  }

  #checkSize(name: string, adapter: AdapterFile): void {
    const { linears, limits, freeBytes = freeMemoryBytes } = this.#parts;
    if (adapter.rank > limits.maxRank) {
      throw new MillraceError(
        "unsupported_adapter",
        `The adapter \`${name}\` has the rank ${adapter.rank}; --max-lora-rank allows ${limits.maxRank}. Start with --max-lora-rank ${adapter.rank}.`,
      );
    }
    const [needed, free] = [adapterBytes(linears, adapter), freeBytes()];
    if (needed <= free) return;
    throw new MillraceError(
      "out_of_memory",
      `The adapter \`${name}\` takes ${formatBytes(needed)} and ${formatBytes(free)} are free. Unload another, or start with a smaller --kv-cache-memory-bytes.`,
    );
  }
}

/** The error of a request for an adapter of an engine that has none. */
export function noAdapters(name: string): MillraceError {
  return new MillraceError(
    "adapter_not_found",
    `The request is for the adapter \`${name}\`, and the engine was started without adapters. Start it with --enable-lora.`,
    { param: "model" },
  );
}
