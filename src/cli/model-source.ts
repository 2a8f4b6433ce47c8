import { readFileSync } from "node:fs";
import path from "node:path";
import { MillraceError, messageOf } from "../base/errors.ts";
import type { EngineSettings } from "../config/engine-settings.ts";
import type { EngineOptions } from "../engine/load-engine.ts";
import type { Checkpoint, TokenizerSource } from "../formats/checkpoint.ts";
import { openCheckpoint } from "../formats/open-checkpoint.ts";
import { loadTokenizerSource } from "../formats/tokenizer-source.ts";
import { mapFile } from "../kernels/map-file.ts";
import { createTokenizer } from "../tokenizer/create-tokenizer.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";

export function openModel(modelPath: string): Checkpoint {
  return openCheckpoint(modelPath, { mapFile });
}

/** The tokenizer of a model, or the one given with --tokenizer; with --chat-template in place of its own. */
export function openTokenizer(
  checkpoint: Checkpoint,
  given: { readonly tokenizer?: string | undefined; readonly chatTemplate?: string | undefined },
): { readonly tokenizer: Tokenizer; readonly source: TokenizerSource } {
  const found = given.tokenizer === undefined ? checkpoint.tokenizer() : loadTokenizerSource(given.tokenizer);
  if (found === null) {
    throw new MillraceError(
      "no_tokenizer",
      `${checkpoint.path} has no tokenizer and this command needs text. Give one with --tokenizer: a folder, a tokenizer.json or a GGUF file.`,
      { param: "--tokenizer" },
    );
  }
  const source =
    given.chatTemplate === undefined ? found : { ...found, chatTemplate: readText(given.chatTemplate) };
  return { tokenizer: createTokenizer(source), source };
}

/** Reads a text file that a flag names. */
export function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new MillraceError(
      "file_not_found",
      `${file} cannot be read: ${messageOf(error)}. A readable text file is needed; check the path and its permissions.`,
      {
        cause: error,
      },
    );
  }
}

/** The name under which a model is served: its folder or file name without ending. */
export function modelNameOf(modelPath: string): string {
  return path.basename(path.resolve(modelPath)).replace(/\.gguf$/i, "");
}

export function engineOptionsOf(modelPath: string, settings: EngineSettings): EngineOptions {
  return {
    modelPath,
    dtype: settings.dtype,
    activations: settings.activations,
    backend: settings.backend,
    isa: settings.isa,
    numThreads: settings.threads,
    maxModelLen: settings.maxModelLen ?? null,
    maxNumSeqs: settings.maxNumSeqs,
    maxNumBatchedTokens: settings.maxNumBatchedTokens,
    longPrefillTokenThreshold: settings.longPrefillTokenThreshold,
    kvCacheDtype: settings.kvCacheDtype,
    kvCacheMemoryBytes: settings.kvCacheMemory ?? null,
    maxNumQueuedRequests: settings.maxNumQueuedReqs,
    seed: settings.seed,
  };
}
