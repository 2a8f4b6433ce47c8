import { type BlockFormat, blockFormats } from "./block-formats.ts";
import type { GgufTensor } from "./header.ts";

/** Tensors of a layer that run as one linear, in one form. */
const stacked: readonly RegExp[] = [
  /^(blk\.\d+\.)attn_[qkv]\.weight$/,
  /^(blk\.\d+\.)ffn_(?:gate|up)\.weight$/,
];

/** Bytes that the tensors take in the forms in which they run: integers of 5 and 6 bits as int8, stacks in the widest. */
export function runningSize(tensors: Iterable<GgufTensor>): number {
  const stacks = new Map<string, GgufTensor[]>();
  for (const tensor of tensors) {
    const rule = stacked.findIndex((pattern) => pattern.test(tensor.name));
    const key = rule < 0 ? tensor.name : `${rule} ${stacked[rule]!.exec(tensor.name)![1]}`;
    stacks.set(key, [...(stacks.get(key) ?? []), tensor]);
  }
  let sum = 0;
  for (const parts of stacks.values()) {
    const formats = parts.map(({ type }) =>
      Object.hasOwn(blockFormats, type.name) ? blockFormats[type.name] : undefined,
    );
    const form = formats.every((format) => format !== undefined) ? widest(formats, parts) : null;
    for (const { shape, sizeBytes } of parts)
      sum +=
        form === null ? sizeBytes : bytesPerWeight(form) * shape.reduce((count, size) => count * size, 1);
  }
  return sum;
}

/** One form for all parts, as `unifyWeights` makes it. */
function widest(formats: readonly BlockFormat[], parts: readonly GgufTensor[]): Omit<BlockFormat, "read"> {
  const hasMinimums = formats.some((format) => format.hasMinimums);
  const isMixed = parts.some(({ type }) => type.name !== parts[0]!.type.name);
  const isWide = formats.some(
    (format) => format.bits === 8 || (isMixed && format.hasMinimums !== hasMinimums),
  );
  return {
    bits: isWide ? 8 : 4,
    groupSize: Math.min(...formats.map((format) => format.groupSize)),
    hasMinimums,
    scaleBytes: formats.some((format) => format.scaleBytes === 4) ? 4 : 2,
  };
}

/** Scales and minimums included. */
function bytesPerWeight({ bits, groupSize, hasMinimums, scaleBytes }: Omit<BlockFormat, "read">): number {
  return bits / 8 + ((hasMinimums ? 2 : 1) * scaleBytes) / groupSize;
}
