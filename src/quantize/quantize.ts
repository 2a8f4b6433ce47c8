import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { MillraceError } from "../base/errors.ts";
import { type Progress, silentProgress } from "../base/progress.ts";
import { version } from "../base/version.ts";
import type { FloatDtype, Weight } from "../base/weights.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { dequantize, narrowFloats, toDense } from "../formats/dequantize.ts";
import {
  type QuantizationManifest,
  quantizationManifestName,
  quantizationManifestSchema,
} from "../records/quantization-manifest.ts";
import { quantizedConfig, sortKeys, writeCompanions, writeJson } from "./companion-files.ts";
import { type FileHash, hashFile, hashText } from "./file-hash.ts";
import { ignoredLinears } from "./model-parts.ts";
import { checkFreeSpace, openOutputFolder, toDiskError } from "./output-folder.ts";
import { packCodes } from "./packed-codes.ts";
import { type QuantizePlan, type ResolvedPlan, resolvePlan } from "./plan.ts";
import { findNonFinite, quantizeToNearest } from "./round-to-nearest.ts";
import type { LinearShape } from "./scheme.ts";
import { openWeightFile, totalBytes, type WeightFile, type WeightFileOpener } from "./weight-file.ts";

/**
 * Quantises a model data-free, one tensor at a time, to a compressed-tensors folder that this engine, transformers,
 * llm-compressor and vLLM read. Head, embedding, norms and biases stay dense in bf16. The folder appears under its
 * name only when it is complete; the weights are the same bytes in every run.
 * Throws `invalid_scheme`, `already_quantized`, `unsupported_format`, `invalid_model_file`, `output_exists`,
 * `disk_full`.
 */
export async function quantize(
  checkpoint: Checkpoint,
  plan: QuantizePlan,
  progress: Progress = silentProgress,
  openFile: WeightFileOpener = openWeightFile,
): Promise<QuantizationManifest> {
  const startedAt = new Date();
  const started = performance.now();
  const resolved = resolvePlan(checkpoint, plan);
  const folder = openOutputFolder(plan.outPath);
  try {
    const weightsPath = path.join(folder.partialPath, "model.safetensors");
    checkFreeSpace(folder.partialPath, totalBytes(resolved.tensors));
    const errors = await writeWeights(
      checkpoint,
      resolved,
      openFile(weightsPath, resolved.tensors),
      progress,
    );
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
      startedAt: startedAt.toISOString(),
      durationMs: Math.round(performance.now() - started),
    };
    writeJson(path.join(folder.partialPath, quantizationManifestName), manifest);
    folder.commit();
    return manifest;
  } catch (error) {
    folder.discard();
    throw toDiskError(plan.outPath, error);
  }
}

/**
 * The manifest of a finished result of the same plan on the same model at `plan.outPath`, or null. A caller may then
 * keep it instead of quantising again.
 */
export async function findFinishedResult(
  checkpoint: Checkpoint,
  plan: QuantizePlan,
): Promise<QuantizationManifest | null> {
  const manifest = readQuantizationManifest(plan.outPath);
  if (manifest === null) return null;
  const expected = await describeRun(checkpoint, plan, resolvePlan(checkpoint, plan));
  const { scheme, groupSize, dtype, source, millraceVersion } = manifest;
  const seen = { scheme, groupSize, dtype, source, millraceVersion };
  const wanted = {
    scheme: expected.scheme,
    groupSize: expected.groupSize,
    dtype: expected.dtype,
    source: expected.source,
    millraceVersion: expected.millraceVersion,
  };
  return JSON.stringify(sortKeys(seen)) === JSON.stringify(sortKeys(wanted)) ? manifest : null;
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
  | "millraceVersion"
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
    millraceVersion: version,
    source: {
      name: path.basename(path.resolve(checkpoint.path)),
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
  file: WeightFile,
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
      const weight = roundFirst(checkpoint.linear(shape.module), plan.roundTo);
      file.write(`${shape.module}.weight`, toDense(weight, "bf16").data);
      await advance(shape);
    }
    for (const { name } of vectors) {
      const values = checkpoint.vector(name);
      file.write(name, narrowFloats(values, "bf16"));
    }
    file.finish();
  } catch (error) {
    file.abandon();
    throw error;
  }
  progress.finish(`${linears.length} linears quantised, ${dense.length} matrices kept in bf16`);
  return errors;
}

function writeLinear(
  checkpoint: Checkpoint,
  plan: ResolvedPlan,
  file: WeightFile,
  shape: LinearShape,
): number {
  const { module, rows, cols } = shape;
  const { scheme, groupSize } = plan;
  const weight = roundFirst(checkpoint.linear(module), plan.roundTo);
  const values = dequantize(weight);
  const bad = findNonFinite(values);
  if (bad >= 0) {
    throw new MillraceError(
      "invalid_model_file",
      `${module} holds ${values[bad]} at row ${Math.floor(bad / cols)}, column ${bad % cols}; weights must be finite numbers. Fetch the model again.`,
    );
  }
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
