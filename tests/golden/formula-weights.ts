import { writeFileSync } from "node:fs";
import path from "node:path";
import { f32ToBf16 } from "../../src/base/half.ts";
import { writeSafetensors } from "../../src/formats/safetensors-writer.ts";

/**
 * Writes a model folder whose bf16 weights follow from names and shapes alone, so that another library can be given
 * the same ones: the i-th value of the n-th tensor in name order is a hash of i and n.
 *
 * @param normBase what norms vary around: 1, or 0 where 1 is added to them
 */
export function writeFormulaModel(
  folder: string,
  config: Readonly<Record<string, unknown>>,
  shapes: Readonly<Record<string, readonly number[]>>,
  normBase: number,
): void {
  const names = Object.keys(shapes).toSorted((a, b) => (a < b ? -1 : 1));
  const tensors = names.map((name, number) => {
    const shape = shapes[name]!;
    const isNorm = name.toLowerCase().endsWith("norm.weight");
    const values = Uint16Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => {
      const u = uniform(i, number);
      return f32ToBf16(Math.fround(isNorm ? normBase + u / 8 : scaled(u, shape)));
    });
    return { name, dtype: "BF16", shape, data: new Uint8Array(values.buffer) };
  });
  writeSafetensors(path.join(folder, "model.safetensors"), tensors);
  writeFileSync(path.join(folder, "config.json"), JSON.stringify(config));
}

function scaled(u: number, shape: readonly number[]): number {
  return shape.length === 1 ? u / 4 : (u * 1.5) / Math.sqrt(shape.at(-1)!);
}

/** A number in [-1, 1) from two whole ones. */
function uniform(i: number, seed: number): number {
  let x = (i * 2654435761 + seed * 40503 + 12345) % 2 ** 32;
  x = (x ^ (x >>> 16)) >>> 0;
  x = Math.imul(x, 0x45d9f3b) >>> 0;
  x = (x ^ (x >>> 16)) >>> 0;
  x = Math.imul(x, 0x45d9f3b) >>> 0;
  x = (x ^ (x >>> 16)) >>> 0;
  return x / 2 ** 31 - 1;
}
