import { BlockPool } from "./block-pool.ts";
import { HostTier } from "./host-tier.ts";
import { KvManager, type KvManagerParts } from "./kv-manager.ts";
import { PrefixCache, type PrefixCacheParts } from "./prefix-cache.ts";
import { PrefixIndex } from "./prefix-index.ts";

export interface KvSettings extends Pick<PrefixCacheParts, "isSharing" | "compare"> {
  readonly numBlocks: number;
  /** Tokens. */
  readonly blockSize: number;
  readonly numHostBlocks: number;
}

/** The books of a KV cache and its host tier. */
export function createKvManager(
  settings: KvSettings,
  parts: Pick<KvManagerParts, "table" | "costs" | "counters">,
): KvManager {
  const { numBlocks, blockSize, numHostBlocks } = settings;
  const prefixes = new PrefixCache({ ...settings, ...parts, index: new PrefixIndex(numBlocks, blockSize) });
  const pool = new BlockPool(numBlocks);
  return new KvManager({ ...parts, pool, prefixes, host: new HostTier(numHostBlocks, blockSize) });
}
