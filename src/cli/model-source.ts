import { readFileSync } from "node:fs";
import path from "node:path";
import { isMillraceError, MillraceError, messageOf } from "../base/errors.ts";
import type { EngineSettings } from "../config/engine-settings.ts";
import type { EngineOptions } from "../engine/load-engine.ts";
import type { Checkpoint, TokenizerSource } from "../formats/checkpoint.ts";
import { openCheckpoint } from "../formats/open-checkpoint.ts";
import { loadTokenizerSource } from "../formats/tokenizer-source.ts";
import { mapFile } from "../kernels/map-file.ts";
import { requireArchitecture } from "../model/registry.ts";
import { createTokenizer } from "../tokenizer/create-tokenizer.ts";
import type { ChatTemplate, Tokenizer } from "../tokenizer/tokenizer.ts";

/** Opens a model; one that cannot be run here is refused by the name of its architecture, unless the caller decides. */
export function openModel(modelPath: string, onArchitecture = requireArchitecture): Checkpoint {
  return openCheckpoint(modelPath, { mapFile, onArchitecture });
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
  const { chatTemplate } = given;
  const source = chatTemplate === undefined ? found : { ...found, chatTemplate: readText(chatTemplate) };
  const tokenizer = createTokenizer(source);
  if (chatTemplate !== undefined && tokenizer.chatTemplate !== null) {
    checkChatTemplate(tokenizer.chatTemplate, chatTemplate);
  }
  return { tokenizer, source };
}

/** Renders one message, so that a template that cannot work is told before a model loads. */
function checkChatTemplate(template: ChatTemplate, file: string): void {
  const content = "Hello";
  const refuse = (problem: string, cause?: unknown): MillraceError =>
    new MillraceError(
      "chat_template_failed",
      `--chat-template is ${file}, which ${problem}. It takes a Jinja template that renders a conversation of one ` +
        "user message. Correct the file or leave the flag out.",
      { param: "--chat-template", cause },
    );
  let rendered: string;
  try {
    rendered = template.render([{ role: "user", content }], { addGenerationPrompt: true });
  } catch (error) {
    if (!isMillraceError(error)) throw error;
    throw refuse(`does not render one: ${messageOf(error.cause)}`, error);
  }
  if (!rendered.includes(content)) throw refuse("leaves the message out");
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

/** Folders that say nothing of the model inside: the embedded model and the flow's results lie in such. */
const namelessFolders: ReadonlySet<string> = new Set(["model", "compressed"]);

/** The name under which a model is served: its file's name without ending, or the nearest folder's that says something. */
export function modelNameOf(modelPath: string): string {
  const full = path.resolve(modelPath);
  const parts = full.split(path.sep).filter((part) => part !== "");
  const name = parts.findLast((part) => !namelessFolders.has(part)) ?? path.basename(full);
  return name.replace(/\.gguf$/i, "");
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
