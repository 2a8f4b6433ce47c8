import { existsSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { MillraceError } from "../base/errors.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { describeProgram } from "../records/origin.ts";
import {
  type QuantizationManifest,
  quantizationManifestName,
  quantizationManifestSchema,
} from "../records/quantization-manifest.ts";
import { sortKeys } from "./companion-files.ts";
import { describeRun, type RunDescription } from "./describe-run.ts";
import type { QuantizePlan } from "./plan.ts";
import { resolvePlan } from "./resolve-plan.ts";

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
  const recipe = (run: RunDescription): string =>
    JSON.stringify(
      sortKeys(Object.fromEntries(Object.keys(expected).map((key) => [key, run[key as never]]))),
    );
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
      `${file} is not JSON. It is written by \`millrace quantize\`; the file is damaged. Fetch the folder again, or quantise again.`,
      { cause: error },
    );
  }
  return quantizationManifestSchema.safeParse(json).data ?? null;
}
