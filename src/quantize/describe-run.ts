import { existsSync } from "node:fs";
import path from "node:path";
import { type Progress, silentProgress } from "../base/progress.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { modelNameOf } from "../formats/model-name.ts";
import { describeProgram } from "../records/origin.ts";
import type { QuantizationManifest } from "../records/quantization-manifest.ts";
import { type CalibrationTools, isHeldOut } from "./calibration/collect-statistics.ts";
import { sortKeys } from "./companion-files.ts";
import { type FileHash, hashFile, hashText } from "./file-hash.ts";
import type { QuantizePlan, ResolvedPlan } from "./plan.ts";

/** What is known of a result before it is made, and decides every byte of its weights. */
export type RunDescription = Omit<
  QuantizationManifest,
  "origin" | "tensors" | "dense" | "sizeBytes" | "files" | "notes"
>;

interface DescribeOptions {
  readonly calibration?: RunDescription["calibration"];
  readonly progress?: Progress;
}

/** Hashes every weight file of the model. Throws `file_not_found`, and what `progress` throws. */
export async function describeRun(
  checkpoint: Checkpoint,
  plan: QuantizePlan,
  resolved: ResolvedPlan,
  { calibration = null, progress = silentProgress }: DescribeOptions = {},
): Promise<RunDescription> {
  const { scheme, groupSize, symmetric, method, head } = resolved;
  const files: FileHash[] = [];
  progress.start("hash the model", checkpoint.sizeBytes);
  let before = 0;
  for (const file of new Set(checkpoint.tensors.map((tensor) => tensor.file))) {
    const place = existsSync(file) ? file : path.join(checkpoint.path, file);
    files.push(await hashFile(place, (done) => progress.update(before + done)));
    before += files.at(-1)!.sizeBytes;
  }
  progress.finish("model hashed");
  return {
    kind: "quantization",
    formatVersion: 5,
    source: {
      name: modelNameOf(checkpoint.path),
      format: checkpoint.format,
      weightFormat: checkpoint.weightFormat,
      sizeBytes: checkpoint.sizeBytes,
      configSha256: hashText(JSON.stringify(sortKeys(checkpoint.config.json))),
      files,
    },
    format: resolved.output.format,
    scheme: scheme.name,
    method,
    isSmoothed: resolved.isSmoothed,
    calibration,
    weightBits: scheme.weightBits,
    groupSize,
    symmetric,
    head: { module: head.module, bytes: head.bytes, int8Bytes: head.int8Bytes, form: head.form },
    kvCache: plan.kvCache ?? null,
    ignore: [...(plan.ignore ?? [])],
    scaleRule: resolved.scaleRule,
    activations: scheme.activations,
    dtype: plan.dtype,
  };
}

/** What calibration does to the weights: its tokens, and the kernels, which sum in an order of their own. */
export function describeCalibration({
  tokens,
  ops,
}: CalibrationTools): NonNullable<RunDescription["calibration"]> {
  const count = (sequences: readonly Int32Array[]): number =>
    sequences.reduce((sum, { length }) => sum + length, 0);
  return {
    source: tokens.source,
    sha256: tokens.sha256,
    numSequences: tokens.sequences.length,
    numTokens: count(tokens.sequences),
    numHeldOutTokens: count(tokens.sequences.filter((_, index) => isHeldOut(index, tokens))),
    kernels: `${ops.backend} ${ops.isa}`,
  };
}

/**
 * One hash of a description, of the build that works by it, and of what decides where bytes stand in the file: the vocabulary
 * in place of the model's own, and types of single matrices. Throws what reading the vocabulary's file throws.
 */
export async function fingerprintOf(
  description: RunDescription,
  { tokenizer = null, types }: QuantizePlan,
): Promise<string> {
  const { version, build } = describeProgram();
  const vocabulary = tokenizer === null ? null : (await hashFile(tokenizer.origin)).sha256;
  return hashText(
    JSON.stringify(sortKeys({ ...description, version, build, vocabulary, types: types ?? null })),
  );
}
