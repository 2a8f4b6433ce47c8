import { existsSync, statSync } from "node:fs";
import path from "node:path";
import { writeFileAtomically } from "../base/write-file.ts";
import type { Checkpoint, TokenizerSource } from "../formats/checkpoint.ts";
import { readWholeFile } from "../formats/file-access.ts";
import type { LinearScheme } from "./linear-scheme.ts";
import { type ConfigOptions, quantizationConfig } from "./quantization-config.ts";

const copied = [
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "vocab.json",
  "merges.txt",
  "tokenizer.model",
  "chat_template.jinja",
  "generation_config.json",
];

/** config.json of the quantised model: the source's, in bf16, with a `quantization_config`. */
export function quantizedConfig(
  checkpoint: Checkpoint,
  { schemes, ...options }: ConfigOptions & { readonly schemes: ReadonlyMap<string, LinearScheme> },
): Record<string, unknown> {
  const { quantization_config: _old, compression_config: _older, ...config } = checkpoint.config.json;
  const dtypeKey = "torch_dtype" in config ? "torch_dtype" : "dtype";
  return sortKeys({
    ...config,
    [dtypeKey]: "bfloat16",
    quantization_config: quantizationConfig(schemes, options),
  }) as Record<string, unknown>;
}

/** Puts files beside weights, into a folder; returns a note on what is missing, or null. */
export type WriteCompanions = (folder: string) => string | null;

/**
 * Tokenizer, chat template and generation settings, to stand beside weights: those of a model folder byte for byte, those
 * of a GGUF file rebuilt from its metadata, or `tokenizer` in their place. Throws what `Checkpoint.tokenizer` throws.
 */
export function readCompanions(checkpoint: Checkpoint, tokenizer: TokenizerSource | null): WriteCompanions {
  if (tokenizer === null && checkpoint.format === "safetensors" && statSync(checkpoint.path).isDirectory())
    return (folder) => copyCompanions(checkpoint.path, folder);
  const source = tokenizer ?? checkpoint.tokenizer();
  return source === null ? () => withoutTokenizer : (folder) => writeTokenizer(source, folder);
}

function copyCompanions(from: string, folder: string): string | null {
  for (const name of copied) {
    const source = path.join(from, name);
    if (existsSync(source))
      writeFileAtomically(path.join(folder, name), new Uint8Array(readWholeFile(source).buffer));
  }
  return existsSync(path.join(folder, "tokenizer.json")) ? null : withoutTokenizer;
}

function writeTokenizer(source: TokenizerSource, folder: string): null {
  writeJson(path.join(folder, "tokenizer.json"), source.tokenizerJson);
  writeJson(path.join(folder, "tokenizer_config.json"), source.tokenizerConfig);
  if (source.chatTemplate !== null)
    writeFileAtomically(path.join(folder, "chat_template.jinja"), source.chatTemplate);
  if (source.generationConfig !== null)
    writeJson(path.join(folder, "generation_config.json"), source.generationConfig);
  return null;
}

const withoutTokenizer = "The model has no tokenizer, so none was written.";

/** Whole and on the disk when it returns. */
export function writeJson(file: string, value: unknown): void {
  writeFileAtomically(file, `${JSON.stringify(value, null, 2)}\n`);
}

/** The same value with the keys of every object sorted, so that its text does not depend on where it came from. */
export function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, item]) => [key, sortKeys(item)]));
}
