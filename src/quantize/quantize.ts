import { existsSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { MillraceError } from "../base/errors.ts";
import { type Progress, silentProgress } from "../base/progress.ts";
import type { FloatDtype, Weight } from "../base/weights.ts";
import { toWriteFault } from "../base/write-file.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { dequantize, narrowFloats, toDense, widenFloats } from "../formats/dequantize.ts";
import { modelNameOf } from "../formats/model-name.ts";
import { createSafetensors, type SafetensorsWriter, totalBytes } from "../formats/safetensors-writer.ts";
import { describeProgram, startOrigin } from "../records/origin.ts";
import {
  type QuantizationManifest,
  quantizationManifestName,
  quantizationManifestSchema,
} from "../records/quantization-manifest.ts";
import { quantizedConfig, sortKeys, writeCompanions, writeJson } from "./companion-files.ts";
import { type FileHash, hashFile, hashText } from "./file-hash.ts";
import { checkFinite } from "./finite.ts";
import { ignoredLinears } from "./model-parts.ts";
import { checkFreeSpace, openOutputFolder } from "./output-folder.ts";
import { packCodes } from "./packed-codes.ts";
import { type QuantizePlan, type ResolvedPlan, resolvePlan } from "./plan.ts";
import { quantizeToNearest } from "./round-to-nearest.ts";
import type { LinearShape } from "./scheme.ts";

/**
 * Quantises a model data-free, one tensor at a time, to a compressed-tensors folder that this engine, transformers,
 * llm-compressor and vLLM read. Head, embedding, norms and biases stay dense in bf16. The folder appears under its
 * name only when it is complete; the weights are the same bytes in every run.
 * Throws `invalid_scheme`, `already_quantized`, `unsupported_format`, `model_not_finite`, `output_exists`,
 * `output_unwritable`, `disk_full`.
 */
export async function quantize(
  checkpoint: Checkpoint,
  plan: QuantizePlan,
  progress: Progress = silentProgress,
): Promise<QuantizationManifest> {
  // Rounding is done in TypeScript, the same on every machine: no kernels.
  const finishOrigin = startOrigin(null);
  const resolved = resolvePlan(checkpoint, plan);
  const folder = openOutputFolder(plan.outPath, { replaceEarlier: plan.replaceEarlier });
  try {
    const weightsPath = path.join(folder.partialPath, "model.safetensors");
    checkFreeSpace(folder.partialPath, totalBytes(resolved.tensors));
    const file = createSafetensors(weightsPath, resolved.tensors);
    const errors = await writeWeights(checkpoint, resolved, file, progress);
    const ignore = ignoredLinears(resolved.parts);
    writeJson(
      path.join(folder.partialPath, "config.json"),
      quantizedConfig(checkpoint, resolved.scheme, resolved.groupSize, ignore),
    );
    const note = writeCompanions(checkpoint, folder.partialPath);
    const weights = await hashFile(weightsPath);
    const manifest: QuantizationManifest = {
      ...(await describeRun(checkpoint, plan, resolved)),
      tensors: resolved.parts.linears.map(({ module, rows, cols }, i) => ({
        name: module,
        shape: [rows, cols],
        relativeError: errors[i]!,
      })),
      dense: resolved.parts.dense.map(({ module, rows, cols }) => ({ name: module, shape: [rows, cols] })),
      sizeBytes: weights.sizeBytes,
      files: [weights],
      notes: [...resolved.notes, ...(note === null ? [] : [note])],
      origin: finishOrigin(),
    };
    writeJson(path.join(folder.partialPath, quantizationManifestName), manifest);
    folder.commit();
    return manifest;
  } catch (error) {
    folder.discard();
    throw toWriteFault(plan.outPath, error);
  }
}

/** What lies at `plan.outPath` from the same plan on the same model. */
export interface EarlierResult {
  readonly manifest: QuantizationManifest;
  /** Whether it is whole and this very build made it. If not, make it again with `replaceEarlier`. */
  readonly isCurrent: boolean;
}

/** The earlier result of the same plan on the same model, or null. A current one may be kept. */
export async function findEarlierResult(
  checkpoint: Checkpoint,
  plan: QuantizePlan,
): Promise<EarlierResult | null> {
  const manifest = readQuantizationManifest(plan.outPath);
  if (manifest === null) return null;
  const expected = await describeRun(checkpoint, plan, resolvePlan(checkpoint, plan));
  const recipe = ({ scheme, groupSize, dtype, source }: RunDescription): string =>
    JSON.stringify(sortKeys({ scheme, groupSize, dtype, source }));
  if (recipe(manifest) !== recipe(expected)) return null;
  const { version, build } = describeProgram();
  const isOfThisBuild = manifest.origin.version === version && manifest.origin.build === build;
  return { manifest, isCurrent: isOfThisBuild && isWhole(plan.outPath, manifest) };
}

/** Whether every file that the manifest names is there in its size. */
function isWhole(folder: string, manifest: QuantizationManifest): boolean {
  return manifest.files.every(
    ({ name, sizeBytes }) => statSync(path.join(folder, name), { throwIfNoEntry: false })?.size === sizeBytes,
  );
}

/** The manifest of a model folder, or null when it has none (or one of another kind). */
export function readQuantizationManifest(folder: string): QuantizationManifest | null {
  const file = path.join(folder, quantizationManifestName);
  if (!existsSync(file)) return null;
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    throw new MillraceError(
      "invalid_data_file",
      `${file} is not JSON. It is written by \`millrace quantize\`; remove it or the folder.`,
      {
        cause: error,
      },
    );
  }
  return quantizationManifestSchema.safeParse(json).data ?? null;
}

type RunDescription = Pick<
  QuantizationManifest,
  | "kind"
  | "formatVersion"
  | "source"
  | "scheme"
  | "method"
  | "weightBits"
  | "groupSize"
  | "scaleRule"
  | "activations"
  | "dtype"
>;

async function describeRun(
  checkpoint: Checkpoint,
  plan: QuantizePlan,
  resolved: ResolvedPlan,
): Promise<RunDescription> {
  const { scheme, groupSize } = resolved;
  const files: FileHash[] = [];
  for (const file of new Set(checkpoint.tensors.map((tensor) => tensor.file))) {
    files.push(await hashFile(existsSync(file) ? file : path.join(checkpoint.path, file)));
  }
  return {
    kind: "quantization",
    formatVersion: 1,
    source: {
      name: modelNameOf(checkpoint.path),
      format: checkpoint.format,
      weightFormat: checkpoint.weightFormat,
      sizeBytes: checkpoint.sizeBytes,
      configSha256: hashText(JSON.stringify(sortKeys(checkpoint.config.json))),
      files,
    },
    scheme: scheme.name,
    method: "rtn",
    weightBits: scheme.weightBits,
    groupSize,
    scaleRule: `symmetric: max|w| / ${(2 ** scheme.weightBits - 1) / 2}, rounded to bf16; integers half to even`,
    activations: scheme.activations,
    dtype: plan.dtype,
  };
}

/** Writes every tensor; returns the relative error of each linear. */
async function writeWeights(
  checkpoint: Checkpoint,
  plan: ResolvedPlan,
  file: SafetensorsWriter,
  progress: Progress,
): Promise<number[]> {
  const { linears, dense, vectors } = plan.parts;
  const errors: number[] = [];
  const total = [...linears, ...dense].reduce((count, { rows, cols }) => count + rows * cols, 0);
  let done = 0;
  progress.start(`quantize ${plan.scheme.name}`, total);
  const advance = async (shape: LinearShape): Promise<void> => {
    done += shape.rows * shape.cols;
    progress.update(done, shape.module);
    await nextTurn();
  };
  try {
    for (const shape of linears) {
      errors.push(writeLinear(checkpoint, plan, file, shape));
      await advance(shape);
    }
    for (const shape of dense) {
      const weight = toDense(roundFirst(checkpoint.linear(shape.module), plan.roundTo), "bf16");
      checkFinite(shape.module, dequantize(weight));
      file.write(`${shape.module}.weight`, weight.data);
      await advance(shape);
    }
    for (const { name } of vectors) {
      const data = narrowFloats(checkpoint.vector(name), "bf16");
      checkFinite(name, widenFloats(data, "bf16"));
      file.write(name, data);
    }
    file.commit();
  } finally {
    file.discard();
  }
  const kept = dense.length === 1 ? "1 matrix" : `${dense.length} matrices`;
  progress.finish(`${linears.length} linears quantised, ${kept} kept in bf16`);
  return errors;
}

function writeLinear(
  checkpoint: Checkpoint,
  plan: ResolvedPlan,
  file: SafetensorsWriter,
  shape: LinearShape,
): number {
  const { module, rows, cols } = shape;
  const { scheme, groupSize } = plan;
  const weight = roundFirst(checkpoint.linear(module), plan.roundTo);
  const values = dequantize(weight);
  checkFinite(module, values);
  const roundsQuotient = weight.kind === "dense" && weight.dtype === "bf16";
  const quantized = quantizeToNearest(values, {
    bits: scheme.weightBits,
    groupSize: groupSize ?? cols,
    roundsQuotient,
  });
  const { codes, scales } = quantized;
  file.write(`${module}.weight_scale`, new Uint8Array(scales.buffer));
  if (scheme.format === "int-quantized") {
    file.write(`${module}.weight`, new Uint8Array(codes.buffer));
  } else {
    file.write(`${module}.weight_packed`, packCodes(codes, cols, scheme.weightBits));
    file.write(`${module}.weight_shape`, new Uint8Array(BigInt64Array.of(BigInt(rows), BigInt(cols)).buffer));
  }
  return quantized.squaredSum === 0 ? 0 : Math.sqrt(quantized.squaredError / quantized.squaredSum);
}

function roundFirst(weight: Weight, dtype: FloatDtype | null): Weight {
  return dtype === null ? weight : toDense(weight, dtype);
}
