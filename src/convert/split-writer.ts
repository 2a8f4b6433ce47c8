import { existsSync } from "node:fs";
import { MillraceError } from "../base/errors.ts";
import { type GgufFields, i32, u16 } from "../formats/gguf/fields.ts";
import { splitPath } from "../formats/gguf/split-files.ts";
import { createGguf, type GgufTensorSpec, ggufTensorBytes } from "../formats/gguf/writer.ts";
import type { TensorFile } from "../formats/tensor-file.ts";
import { shardsOf } from "./plan.ts";

/** A GGUF model in the making, in one file or several parts. */
export interface SplitWriter extends Pick<TensorFile, "write" | "commit" | "discard"> {
  /** The files that `commit` gives their names. */
  readonly files: readonly string[];
}

/**
 * Begins a GGUF file, or the parts "NAME-00001-of-0000N.gguf" where its tensors take more than `maxBytes`: metadata
 * goes into the first. Throws `output_exists`, `disk_full` or `output_unwritable`.
 */
export function createSplitGguf(
  outPath: string,
  fields: GgufFields,
  tensors: readonly GgufTensorSpec[],
  maxBytes: number | null,
): SplitWriter {
  const shards = shardsOf(tensors, ggufTensorBytes, maxBytes);
  const prefix = outPath.replace(/\.gguf$/i, "");
  const files =
    shards.length === 1 ? [outPath] : shards.map((_, index) => splitPath(prefix, index + 1, shards.length));
  for (const file of files) {
    if (!existsSync(file)) continue;
    throw new MillraceError(
      "output_exists",
      `${file} is there already. A new name is needed. Choose another --out or remove it.`,
      { param: "--out" },
    );
  }
  const writers: TensorFile[] = [];
  const places = new Map<string, TensorFile>();
  const discard = (): void => {
    for (const writer of writers) writer.discard();
  };
  try {
    for (const [index, shard] of shards.entries()) {
      const split: GgufFields = [
        ["split.no", u16(index)],
        ["split.count", u16(shards.length)],
        ["split.tensors.count", i32(tensors.length)],
      ];
      const own = [...(index === 0 ? fields : []), ...(shards.length === 1 ? [] : split)];
      const writer = createGguf(files[index]!, own, shard);
      writers.push(writer);
      for (const { name } of shard) places.set(name, writer);
    }
  } catch (error) {
    discard();
    throw error;
  }
  return {
    files,
    write: (name, data, at) => places.get(name)!.write(name, data, at),
    // The first part, which readers open, appears last.
    commit: () => {
      for (const writer of writers.toReversed()) writer.commit();
    },
    discard,
  };
}
