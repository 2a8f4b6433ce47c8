import path from "node:path";
import { writeAtomically } from "./atomic-file.ts";
import { orderTensors, type TensorSource, tensorSize, writeSafetensors } from "./safetensors.ts";
import { indexFileName, singleFileName } from "./safetensors-files.ts";

export interface ShardOptions {
  /** A shard takes tensors while their bytes stay within this; a larger tensor gets a shard of its own. */
  readonly maxShardBytes: number;
  readonly metadata?: Readonly<Record<string, string>>;
}

/**
 * Writes model.safetensors into a folder, or `model-00001-of-000NN.safetensors` with their index when the tensors
 * exceed `maxShardBytes`. The index comes last, so that an interrupted run leaves no readable model.
 * Throws `disk_full`. Returns the names of the files written.
 */
export async function writeShardedSafetensors(
  folder: string,
  tensors: readonly TensorSource[],
  options: ShardOptions,
): Promise<string[]> {
  const shards = planShards(tensors, options.maxShardBytes);
  if (shards.length <= 1) {
    await writeSafetensors(path.join(folder, singleFileName), tensors, options.metadata);
    return [singleFileName];
  }
  const weightMap: Record<string, string> = {};
  const files: string[] = [];
  for (const [i, shard] of shards.entries()) {
    const file = `model-${number5(i + 1)}-of-${number5(shards.length)}.safetensors`;
    await writeSafetensors(path.join(folder, file), shard, options.metadata);
    for (const tensor of shard) weightMap[tensor.name] = file;
    files.push(file);
  }
  const totalSize = tensors.reduce((sum, tensor) => sum + tensorSize(tensor), 0);
  const index = { metadata: { total_size: totalSize }, weight_map: weightMap };
  await writeAtomically(path.join(folder, indexFileName), async (handle) => {
    await handle.writeFile(`${JSON.stringify(index, null, 2)}\n`);
  });
  return [...files, indexFileName];
}

function planShards(tensors: readonly TensorSource[], maxShardBytes: number): TensorSource[][] {
  const shards: TensorSource[][] = [];
  let room = 0;
  for (const tensor of orderTensors(tensors)) {
    const size = tensorSize(tensor);
    const last = shards.at(-1);
    if (last === undefined || size > room) {
      shards.push([tensor]);
      room = maxShardBytes - size;
    } else {
      last.push(tensor);
      room -= size;
    }
  }
  return shards;
}

function number5(value: number): string {
  return String(value).padStart(5, "0");
}
