import type { Ops, RopeTable } from "../../kernels/ops.ts";
import type { RopeFrequencies } from "./rope-frequencies.ts";

/**
 * Loads cos and sin of every position. Computed here, once, so that all backends and instruction sets rotate by the
 * same bits: angle = f32(position · inverse frequency), cos and sin rounded to f32, as transformers does.
 */
export function loadRopeTable(ops: Ops, frequencies: RopeFrequencies, maxPositions: number): RopeTable {
  const { inverse, attentionFactor } = frequencies;
  const half = inverse.length;
  const cos = new Float32Array(maxPositions * half);
  const sin = new Float32Array(maxPositions * half);
  for (let position = 0; position < maxPositions; position += 1) {
    for (let pair = 0; pair < half; pair += 1) {
      const angle = Math.fround(position * inverse[pair]!);
      cos[position * half + pair] = Math.fround(Math.cos(angle)) * attentionFactor;
      sin[position * half + pair] = Math.fround(Math.sin(angle)) * attentionFactor;
    }
  }
  return ops.loadRope(cos, sin, 2 * half);
}
