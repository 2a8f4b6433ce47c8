import { MillraceError } from "../base/errors.ts";
import { formatBytes } from "../base/units.ts";
import type { FloatDtype } from "../base/weights.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { compressedOutput } from "./compressed-output.ts";
import type { LinearScheme } from "./linear-scheme.ts";
import type { QuantizationMethod } from "./methods.ts";
import { listModelParts, type VectorShape } from "./model-parts.ts";
import type { DenseTarget, OutputFormat } from "./output-format.ts";
import {
  checkSymmetry,
  chooseGroupSize,
  type LinearShape,
  parseScheme,
  type Scheme,
  type SchemeName,
} from "./scheme.ts";
import { splitIgnored } from "./targets.ts";

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
  /** Names of linears that stay dense, or "re:" and a pattern. */
  readonly ignore?: readonly string[];
  /**
   * "auto" takes float weights as stored and refuses integer checkpoints; the others dequantise what is integer and
   * round all weights to that type first.
   */
  readonly dtype: "auto" | "float32" | "bfloat16" | "float16";
  /** The most memory that the process may take; null, the default, for what is fastest. */
  readonly maxMemoryBytes?: number | null;
  /** Folder to make. */
  readonly outPath: string;
  /** Whether what the folder holds gives way once the new result is whole; without, a folder in use is refused. */
  readonly replaceEarlier?: boolean;
}

/** A matrix to quantise. */
export interface QuantizationTarget extends LinearShape {
  /** The module that it is read from: another one where a tied embedding becomes the head. */
  readonly source: string;
  readonly scheme: LinearScheme;
}

/** What the head takes, for the report. */
export interface HeadSizes {
  readonly module: string;
  readonly bytes: number;
  readonly int8Bytes: number;
}

/** A plan checked against a model: everything that can be known before the first weight is read. */
export interface ResolvedPlan {
  readonly scheme: Scheme;
  readonly groupSize: number | null;
  readonly symmetric: boolean;
  readonly method: QuantizationMethod;
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

const headScheme: LinearScheme = {
  format: "pack-quantized",
  bits: 8,
  groupSize: null,
  symmetric: true,
  activations: "unspecified",
};

/**
 * Checks shapes, groups and source format. Throws `invalid_scheme`, `invalid_option`, `already_quantized`,
 * `unsupported_format`.
 */
export function resolvePlan(checkpoint: Checkpoint, plan: QuantizePlan): ResolvedPlan {
  const scheme = parseScheme(plan.scheme);
  const symmetric = plan.symmetric ?? true;
  checkSymmetry(scheme, symmetric);
  const parts = listModelParts(checkpoint);
  refuseIntegers(checkpoint, plan, parts.linears);
  const { kept, ignored } = splitIgnored(parts.linears, plan.ignore ?? []);
  if (kept.length === 0) throw nothingLeft(plan.ignore ?? []);
  const groupSize = chooseGroupSize(scheme, plan.groupSize, kept);
  const { format, weightBits: bits, activations } = scheme;
  const linearScheme: LinearScheme = { format, bits, groupSize, symmetric, activations };
  const head = findHead(checkpoint, parts.dense);
  const isHeadInteger = plan.head === "int8";
  const targets: QuantizationTarget[] = kept.map((shape) => ({
    ...shape,
    source: shape.module,
    scheme: linearScheme,
  }));
  if (isHeadInteger) targets.push({ ...head, source: head.module, module: "lm_head", scheme: headScheme });
  const dense = [...ignored, ...parts.dense]
    .filter(({ module }) => !isHeadInteger || module !== head.module)
    .map((shape): DenseTarget => ({ ...shape, dtype: "bf16" }));
  const { vectors } = parts;
  const method = plan.method ?? "rtn";
  return {
    scheme,
    groupSize,
    symmetric,
    method,
    isSmoothed: plan.smooth ?? false,
    roundTo: plan.dtype === "auto" ? null : floatTypes[plan.dtype],
    targets,
    dense,
    vectors,
    output: compressedOutput(checkpoint, { targets, dense, vectors, method }),
    head: { module: head.module, bytes: 2 * head.rows * head.cols, int8Bytes: head.rows * (head.cols + 2) },
    notes: notesOf(checkpoint, plan, scheme, groupSize),
  };
}

function nothingLeft(patterns: readonly string[]): MillraceError {
  return new MillraceError(
    "invalid_option",
    `--ignore ${patterns.join(" ")} leaves no linear to quantise. At least one must be left. Give fewer patterns.`,
    { param: "--ignore" },
  );
}

/** The matrix of the head: the embedding where they are tied. */
function findHead({ path }: Checkpoint, dense: readonly LinearShape[]): LinearShape {
  const head =
    dense.find(({ module }) => module === "lm_head") ??
    dense.find(({ module }) => module === "model.embed_tokens");
  if (head !== undefined) return head;
  throw new MillraceError(
    "tensor_missing",
    `${path} has neither lm_head nor model.embed_tokens. A language model has at least one. Fetch the model again.`,
  );
}

function notesOf(
  { config }: Checkpoint,
  plan: QuantizePlan,
  scheme: Scheme,
  groupSize: number | null,
): string[] {
  const notes: string[] = [];
  if (groupSize !== null && plan.groupSize === null) {
    notes.push(
      `Group size ${groupSize}: the largest of 128, 64 and 32 that divides the input width of every linear.`,
    );
  }
  if (plan.dtype !== "auto") notes.push(`Weights were rounded to ${plan.dtype} before they were quantised.`);
  if (scheme.weightBits < 4) {
    notes.push(
      `${scheme.weightBits}-bit weights are read here and by compressed-tensors itself; most GPU servers take 4 and 8 bits only.`,
    );
  }
  if (plan.head === "int8" && config.tieWordEmbeddings) {
    notes.push(
      "The head is int8 and the embedding is read through it, as this engine does; readers that want an embedding of its own in 16 bits do not find one.",
    );
  }
  return notes;
}

/** The line of a report that says what `--head int8` saves, or saved. */
export function describeHead({ module, bytes, int8Bytes }: HeadSizes, isInteger: boolean): string {
  const saved = formatBytes(bytes - int8Bytes);
  return isInteger
    ? `${module} takes ${formatBytes(int8Bytes)} in int8, ${saved} less than in bf16.`
    : `${module} takes ${formatBytes(bytes)} in bf16; --head int8 would save ${saved}.`;
}

function refuseIntegers(checkpoint: Checkpoint, plan: QuantizePlan, linears: readonly LinearShape[]): void {
  const first = linears[0];
  if (first === undefined) {
    throw new MillraceError(
      "invalid_scheme",
      `${checkpoint.path} has no linears to quantise. Give a language model with decoder layers.`,
    );
  }
  if (plan.dtype !== "auto" || checkpoint.linear(first.module).kind === "dense") return;
  throw new MillraceError(
    "already_quantized",
    `${checkpoint.path} holds integer weights (${checkpoint.weightFormat}). Quantising needs float weights. Start from the float model, or give --dtype bfloat16 to dequantise first.`,
    { param: "--dtype" },
  );
}
