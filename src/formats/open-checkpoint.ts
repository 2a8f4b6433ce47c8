import { existsSync, readdirSync, statSync } from "node:fs";
import path from "node:path";
import { MillraceError } from "../base/errors.ts";
import type { Checkpoint, OpenTools } from "./checkpoint.ts";
import { readWholeFile } from "./file-access.ts";
import { GgufCheckpoint } from "./gguf/checkpoint.ts";
import { firstOfSplit } from "./gguf/split-files.ts";
import { SafetensorsCheckpoint } from "./safetensors-checkpoint.ts";
import { hasSafetensors } from "./safetensors-files.ts";

/** By default files are read into memory, and every architecture is opened, also one that cannot be run here. */
export type OpenOptions = Partial<OpenTools>;

const accepted =
  "a folder with config.json and safetensors weights, a .gguf file, or a folder with exactly one .gguf file or all parts of one";

/**
 * Opens a model on disk: headers and configuration are read and checked, weights when they are asked for.
 * Throws `file_not_found`, `invalid_model_file`, `unsupported_format`, `unsupported_architecture`, `tensor_missing`,
 * and what `onArchitecture` throws.
 */
export function openCheckpoint(modelPath: string, options: OpenOptions = {}): Checkpoint {
  const tools: OpenTools = { mapFile: readWholeFile, onArchitecture: () => {}, ...options };
  if (!existsSync(modelPath)) throw missing(modelPath);
  if (!statSync(modelPath).isDirectory()) {
    if (modelPath.toLowerCase().endsWith(".gguf")) return new GgufCheckpoint(modelPath, tools);
    const folder = path.dirname(modelPath);
    const hint = existsSync(path.join(folder, "config.json")) ? ` Name its folder: ${folder}.` : "";
    throw new MillraceError(
      "unsupported_format",
      `${modelPath} is not a .gguf file.${hint} A model is ${accepted}.`,
    );
  }
  const hasConfig = existsSync(path.join(modelPath, "config.json"));
  if (hasConfig && hasSafetensors(modelPath)) return new SafetensorsCheckpoint(modelPath, tools);
  const names = readdirSync(modelPath);
  const ggufs = names.filter((name) => name.toLowerCase().endsWith(".gguf"));
  const gguf = ggufs.length === 1 ? ggufs[0] : firstOfSplit(ggufs);
  if (gguf !== undefined) return new GgufCheckpoint(path.join(modelPath, gguf), tools);
  throw unknownFolder(modelPath, { hasConfig, names, ggufs });
}

function unknownFolder(
  folder: string,
  seen: { readonly hasConfig: boolean; readonly names: readonly string[]; readonly ggufs: readonly string[] },
): MillraceError {
  if (seen.ggufs.length > 1) {
    const list = seen.ggufs.toSorted().slice(0, 10).join(", ");
    return new MillraceError(
      "unsupported_format",
      `${folder} holds ${seen.ggufs.length} GGUF files (${list}). Name the one to open.`,
    );
  }
  if (seen.names.some((name) => /^pytorch_model.*\.bin$|\.pth?$/.test(name))) {
    return new MillraceError(
      "unsupported_format",
      `${folder} holds PyTorch pickle weights, which can run code when read and are not opened. Convert the model to safetensors.`,
    );
  }
  const absent = seen.hasConfig ? "model.safetensors or model.safetensors.index.json" : "config.json";
  const below = seen.names.find((name) => existsSync(path.join(folder, name, "config.json")));
  const hint = below === undefined ? "" : ` One lies in ${path.join(folder, below)}.`;
  return new MillraceError("file_not_found", `${folder} has no ${absent}.${hint} A model is ${accepted}.`);
}

function missing(modelPath: string): MillraceError {
  const looksLikeHubId = /^[\w-][\w.-]*\/[\w-][\w.-]*$/.test(modelPath);
  const [, addressed] = /^https?:\/\/[^/]+\/([\w.-]+\/[\w.-]+)/.exec(modelPath) ?? [];
  const hint = looksLikeHubId
    ? ` If ${modelPath} is the name of a model on a hub: \`millrace pull ${modelPath}\` brings it and prints its path.`
    : addressed === undefined
      ? ""
      : ` A model on a hub is named by its id, not its address: ${addressed}.`;
  return new MillraceError(
    "file_not_found",
    `There is nothing at ${modelPath}.${hint} A model is ${accepted}.`,
  );
}
