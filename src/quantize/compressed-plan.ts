import type { Checkpoint } from "../formats/checkpoint.ts";
import { compressedOutput } from "./compressed-output.ts";
import { findHead, headSizes } from "./head.ts";
import { describeScheme, type LinearScheme } from "./linear-scheme.ts";
import { methods } from "./methods.ts";
import type { ModelParts } from "./model-parts.ts";
import type { DenseTarget } from "./output-format.ts";
import { type QuantizationTarget, type QuantizePlan, type ResolvedPlan, weightFloats } from "./plan.ts";
import { checkSymmetry, chooseGroupSize, type LinearShape, parseScheme, type Scheme } from "./scheme.ts";
import { splitIgnored } from "./targets.ts";

const headScheme: LinearScheme = {
  format: "pack-quantized",
  bits: 8,
  groupSize: null,
  symmetric: true,
  activations: "unspecified",
};

/** A plan whose weights go to a folder of compressed-tensors. Throws `invalid_scheme` or `invalid_option`. */
export function resolveCompressedPlan(
  checkpoint: Checkpoint,
  plan: QuantizePlan,
  parts: ModelParts,
): ResolvedPlan {
  const scheme = parseScheme(plan.scheme);
  const symmetric = plan.symmetric ?? true;
  checkSymmetry(scheme, symmetric);
  const { kept, ignored } = splitIgnored(parts.linears, plan.ignore ?? []);
  const groupSize = chooseGroupSize(scheme, plan.groupSize, kept);
  const { format, weightBits: bits, activations } = scheme;
  const linearScheme: LinearScheme = { format, bits, groupSize, symmetric, activations };
  const head = findHead(checkpoint, parts.dense);
  const isHeadInteger = plan.head === "int8";
  const targets = kept.map((shape) => targetOf(shape, shape.module, linearScheme));
  if (isHeadInteger) targets.push(targetOf({ ...head, module: "lm_head" }, head.module, headScheme));
  const dense = [...ignored, ...parts.dense]
    .filter(({ module }) => !isHeadInteger || module !== head.module)
    .map((shape): DenseTarget => ({ ...shape, dtype: "bf16" }));
  const { vectors } = parts;
  const method = plan.method ?? "rtn";
  const levels = 2 ** bits - 1;
  const rule = methods[method].describe(symmetric ? levels / 2 : levels);
  return {
    scheme,
    groupSize,
    symmetric,
    method,
    scaleRule: `${symmetric ? "symmetric" : "asymmetric"}: ${rule}`,
    isSmoothed: plan.smooth ?? false,
    roundTo: weightFloats(plan.dtype),
    targets,
    dense,
    vectors,
    output: compressedOutput(checkpoint, {
      targets,
      dense,
      vectors,
      method,
      hasInt8KvCache: plan.kvCache === "int8",
      tokenizer: plan.tokenizer ?? null,
    }),
    head: headSizes(head, isHeadInteger ? "int8" : "bf16", null),
    notes: notesOf(checkpoint, plan, scheme, groupSize),
  };
}

function targetOf(
  shape: LinearShape,
  source: string,
  scheme: LinearScheme,
): QuantizationTarget<LinearScheme> {
  return { ...shape, source, scheme, form: describeScheme(scheme) };
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
