import { invariant } from "../base/invariant.ts";
import type { AttentionShape, KvCache, Tensor } from "./ops.ts";

/** The heads of a step's q, k and v are those of the cache that they are written to and read from. */
export function checkAttention(qkv: Tensor, cache: KvCache, shape: AttentionShape): void {
  invariant(
    shape.headDim === cache.headDim && shape.numKvHeads === cache.numKvHeads,
    "attention and its KV cache differ in heads",
  );
  invariant(shape.numHeads % shape.numKvHeads === 0, "query heads are no multiple of KV heads");
  invariant(qkv.cols === (shape.numHeads + 2 * shape.numKvHeads) * shape.headDim, "qkv has q, k and v");
}
