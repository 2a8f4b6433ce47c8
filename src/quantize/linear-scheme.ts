import type { IntegerWeight } from "../base/weights.ts";

/** What rounding does to a linear, whatever file it goes to. */
export interface RoundingScheme {
  readonly bits: number;
  /** Null for one scale per row. */
  readonly groupSize: number | null;
  /** Without: a zero point or a minimum beside each scale. */
  readonly symmetric: boolean;
  readonly activations: IntegerWeight["activations"];
}

/** How compressed-tensors holds one linear. */
export interface LinearScheme extends RoundingScheme {
  readonly format: "int-quantized" | "pack-quantized";
  readonly bits: 8 | 4 | 3 | 2;
}

/** For people: "int4 g32 asymmetric", "int8 per channel". */
export function describeScheme({ bits, groupSize, symmetric }: LinearScheme): string {
  return `int${bits} ${groupSize === null ? "per channel" : `g${groupSize}`}${symmetric ? "" : " asymmetric"}`;
}
