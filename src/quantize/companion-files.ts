import { copyFileSync, existsSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { Checkpoint, TokenizerSource } from "../formats/checkpoint.ts";
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

/**
 * Puts tokenizer, chat template and generation settings beside the weights: copied byte for byte from a model
 * folder, rebuilt from the metadata of a GGUF file, or `tokenizer` in its place. Returns a note when there is no tokenizer.
 */
export function writeCompanions(
  checkpoint: Checkpoint,
  folder: string,
  tokenizer: TokenizerSource | null = null,
): string | null {
  if (tokenizer === null && checkpoint.format === "safetensors" && statSync(checkpoint.path).isDirectory()) {
    for (const name of copied) {
      const source = path.join(checkpoint.path, name);
      if (existsSync(source)) copyFileSync(source, path.join(folder, name));
    }
    return existsSync(path.join(folder, "tokenizer.json")) ? null : withoutTokenizer;
  }
  const source = tokenizer ?? checkpoint.tokenizer();
  if (source === null) return withoutTokenizer;
  writeJson(path.join(folder, "tokenizer.json"), source.tokenizerJson);
  writeJson(path.join(folder, "tokenizer_config.json"), source.tokenizerConfig);
  if (source.chatTemplate !== null)
    writeFileSync(path.join(folder, "chat_template.jinja"), source.chatTemplate);
  if (source.generationConfig !== null)
    writeJson(path.join(folder, "generation_config.json"), source.generationConfig);
  return null;
}

const withoutTokenizer = "The model has no tokenizer, so none was written.";

export function writeJson(file: string, value: unknown): void {
  writeFileSync(file, `${JSON.stringify(value, null, 2)}\n`);
}

/** The same value with the keys of every object sorted, so that its text does not depend on where it came from. */
export function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, item]) => [key, sortKeys(item)]));
}
