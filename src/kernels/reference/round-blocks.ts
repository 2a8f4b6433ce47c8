import { type BlockJob, blockTraits } from "../block-types.ts";
import { roundToBlocks, type SmallBlockType } from "./round-to-blocks.ts";
import { searchSmallBlocks } from "./search-blocks.ts";
import { roundSuperBlocks } from "./search-super-blocks.ts";

/** Rounds rows to ggml blocks. */
export function roundBlocks(job: BlockJob): void {
  const { size, levels } = blockTraits[job.type];
  if (size === 256) roundSuperBlocks(job);
  else if (job.isSearched || levels !== undefined) searchSmallBlocks(job);
  else job.blocks.set(roundToBlocks(job.values, job.type as SmallBlockType));
}
