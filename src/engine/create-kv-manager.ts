import { BlockPool } from "./block-pool.ts";
import type { EngineParts } from "./engine-parts.ts";
import { HostTier } from "./host-tier.ts";
import { KvManager, type PreemptionCosts } from "./kv-manager.ts";
import { PrefixIndex } from "./prefix-index.ts";
import type { SequenceTable } from "./sequence-table.ts";

type KvParts = Pick<EngineParts, "ops" | "cache" | "host" | "isPrefixCaching" | "isPrefixChecking">;

/** The books of a KV cache and its host tier, with the kernels' comparison where hits are to be checked. */
export function createKvManager(parts: KvParts, table: SequenceTable, costs: PreemptionCosts): KvManager {
  const { ops, cache, host } = parts;
  const { numBlocks, blockSize } = cache;
  return new KvManager({
    table,
    pool: new BlockPool(numBlocks),
    index: new PrefixIndex(numBlocks, blockSize),
    host: new HostTier(host?.numBlocks ?? 0, blockSize),
    costs,
    isSharing: parts.isPrefixCaching,
    ...(parts.isPrefixChecking ? { compare: (a, b) => ops.equalKv(cache, a, b, blockSize) } : {}),
  });
}
