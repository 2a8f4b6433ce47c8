import { existsSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { MillraceError } from "../base/errors.ts";
import { type Progress, silentProgress } from "../base/progress.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import type { Solver } from "../kernels/solver.ts";
import {
  type QuantizationManifest,
  quantizationManifestName,
  quantizationManifestSchema,
} from "../records/quantization-manifest.ts";
import { checkWritten } from "./check-written.ts";
import { readQuantizationManifest } from "./earlier-result.ts";
import { hashShown } from "./file-hash.ts";

/** Elements that are read back at a time. */
const bandElements = 1 << 20;

/**
 * Compares a quantised folder with its manifest: the hashes of its files, then the values of every linear as a reader gets
 * them. Throws `file_not_found` for a folder without a manifest, `invalid_model_file` for the first difference.
 */
export async function verifyQuantized(
  folder: string,
  openModel: (modelPath: string) => Checkpoint,
  { solver, progress = silentProgress }: { readonly solver: Solver; readonly progress?: Progress },
): Promise<QuantizationManifest> {
  const manifest = readQuantizationManifest(folder);
  if (manifest === null) throw noManifest(folder);
  for (const { name, sizeBytes, sha256 } of manifest.files) {
    const found = await hashShown(path.join(folder, name), sizeBytes, progress);
    if (found.sha256 === sha256) continue;
    throw new MillraceError(
      "invalid_model_file",
      `${path.join(folder, name)} has the hash ${found.sha256}; its manifest says ${sha256}. The file was changed or damaged. Quantise again, or fetch it again.`,
    );
  }
  const written = openModel(folder);
  try {
    await checkWritten(written, manifest.tensors, { bandElements, solver, progress });
  } finally {
    written.close();
  }
  return manifest;
}

/** Says why a folder has no manifest that this version reads. */
function noManifest(folder: string): MillraceError {
  const stats = statSync(folder, { throwIfNoEntry: false });
  if (stats === undefined)
    return new MillraceError("file_not_found", `There is no folder ${folder}. Check the path.`);
  if (!stats.isDirectory()) {
    return new MillraceError(
      "file_not_found",
      `${folder} is a file; what was quantised is verified by its folder. Give ${path.dirname(folder)}.`,
    );
  }
  const file = path.join(folder, quantizationManifestName);
  if (!existsSync(file)) {
    return new MillraceError(
      "file_not_found",
      `${folder} has no ${quantizationManifestName}. Only folders that \`millrace quantize\` made can be verified. Give such a folder.`,
    );
  }
  const { error } = quantizationManifestSchema.safeParse(JSON.parse(readFileSync(file, "utf8")));
  const [issue] = error?.issues ?? [];
  const where = issue === undefined ? "" : `: ${issue.path.join(".")} is wrong (${issue.message})`;
  return new MillraceError(
    "invalid_data_file",
    `${file} is damaged, or of another version of this program${where}. Quantise again, or fetch the folder again.`,
  );
}
