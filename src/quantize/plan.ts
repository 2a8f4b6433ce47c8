import type { FloatDtype } from "../base/weights.ts";
import type { TokenizerSource } from "../formats/checkpoint.ts";
import type { BlockType } from "../kernels/block-types.ts";
import { type GgufSchemeName, ggufSchemeNames } from "./gguf/type-rule.ts";
import type { HeadSizes } from "./head.ts";
import type { RoundingScheme } from "./linear-scheme.ts";
import type { QuantizationMethod } from "./methods.ts";
import type { VectorShape } from "./model-parts.ts";
import type { DenseTarget, OutputFormat } from "./output-format.ts";
import { type CompressedSchemeName, compressedSchemeNames, type LinearShape, type Scheme } from "./scheme.ts";

/** The names of schemes say which file is written: compressed-tensors, or GGUF. */
export type SchemeName = CompressedSchemeName | GgufSchemeName;

export const schemeNames: readonly [SchemeName, ...SchemeName[]] = [
  ...compressedSchemeNames,
  ...ggufSchemeNames,
];

/** Block types of a GGUF file by module. */
export type TensorTypes = Readonly<Record<string, BlockType>>;

/** What the caller asks for. */
export interface QuantizePlan {
  readonly scheme: SchemeName;
  /** 128, 64 or 32; null for the largest that fits. */
  readonly groupSize: number | null;
  /** Without: a zero point beside each scale; at most 4 bits. Default true. */
  readonly symmetric?: boolean;
  /** How scales and integers are found; plain rounding by default. */
  readonly method?: QuantizationMethod;
  /** Whether size is moved between inputs and weights first (SmoothQuant, AWQ), where that is expected to help. */
  readonly smooth?: boolean;
  /** What becomes of the head, and of the embedding that it shares its matrix with. By default both stay bf16. */
  readonly head?: "bf16" | "int8";
  /** Of a GGUF file: block types by module, in place of those of the scheme. */
  readonly types?: TensorTypes;
  /** What the file asks of the KV cache of servers that read such a wish; nothing by default. */
  readonly kvCache?: "int8";
  /** Names of linears that stay dense, or "re:" and a pattern. */
  readonly ignore?: readonly string[];
  /**
   * "auto" takes float weights as stored and refuses integer checkpoints; the others dequantise what is integer and
   * round all weights to that type first.
   */
  readonly dtype: "auto" | "float32" | "bfloat16" | "float16";
  /** In place of the model's own; null, the default, for that. */
  readonly tokenizer?: TokenizerSource | null;
  /** The most memory that the process may take; null, the default, for what is fastest. */
  readonly maxMemoryBytes?: number | null;
  /** Folder to make. */
  readonly outPath: string;
  /** Whether what the folder holds gives way once the new result is whole; without, a folder in use is refused. */
  readonly replaceEarlier?: boolean;
}

/** A matrix to quantise. */
export interface QuantizationTarget<S extends RoundingScheme = RoundingScheme> extends LinearShape {
  /** The module that it is read from: another one where a tied embedding becomes the head. */
  readonly source: string;
  readonly scheme: S;
  /** For people: "int4 g32", "Q4_K". */
  readonly form: string;
}

/** A plan checked against a model: everything that can be known before the first weight is read. */
export interface ResolvedPlan {
  readonly scheme: Pick<Scheme, "activations"> & { readonly name: SchemeName; readonly weightBits: number };
  readonly groupSize: number | null;
  readonly symmetric: boolean;
  readonly method: QuantizationMethod;
  /** How scales and integers are found, for people. */
  readonly scaleRule: string;
  readonly isSmoothed: boolean;
  /** Type that weights are rounded to first, or null. */
  readonly roundTo: FloatDtype | null;
  readonly targets: readonly QuantizationTarget[];
  /** Matrices that stay floats. */
  readonly dense: readonly DenseTarget[];
  readonly vectors: readonly VectorShape[];
  readonly output: OutputFormat;
  readonly head: HeadSizes;
  /** What the user should know: choices made for them. */
  readonly notes: readonly string[];
}

const floatTypes = { float32: "f32", bfloat16: "bf16", float16: "f16" } as const;

/** The type that weights are rounded to first, or null. */
export function weightFloats(dtype: QuantizePlan["dtype"]): FloatDtype | null {
  return dtype === "auto" ? null : floatTypes[dtype];
}
