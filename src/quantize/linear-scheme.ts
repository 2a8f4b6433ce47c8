import type { IntegerWeight } from "../base/weights.ts";

/** How compressed-tensors holds one linear. */
export interface LinearScheme {
  readonly format: "int-quantized" | "pack-quantized";
  readonly bits: 8 | 4 | 3 | 2;
  /** Null for one scale per row. */
  readonly groupSize: number | null;
  /** Without: a zero point beside each scale. */
  readonly symmetric: boolean;
  readonly activations: IntegerWeight["activations"];
}

/** For people: "int4 g32 asymmetric", "int8 per channel". */
export function describeScheme({ bits, groupSize, symmetric }: LinearScheme): string {
  return `int${bits} ${groupSize === null ? "per channel" : `g${groupSize}`}${symmetric ? "" : " asymmetric"}`;
}
