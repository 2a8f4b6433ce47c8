import { existsSync, statSync } from "node:fs";
import path from "node:path";
import { MillraceError } from "../base/errors.ts";
import type { TokenizerSource } from "./checkpoint.ts";
import { readTextFile } from "./file-access.ts";
import { readGgufFiles } from "./gguf/split-files.ts";
import { readGgufTokenizer } from "./gguf/tokenizer.ts";
import { isJsonObject, type JsonObject, readJsonObject } from "./json-file.ts";

/** 4 MiB. The longest published chat templates have some 10 kB. */
const maxTemplateBytes = 1 << 22;

/**
 * The tokenizer of a model folder: tokenizer.json, or another file in its place, with tokenizer_config.json,
 * chat_template.jinja and generation_config.json where they are. Null without a tokenizer.json. Throws
 * `invalid_model_file`.
 */
export function readTokenizerFolder(
  folder: string,
  tokenizerPath: string = path.join(folder, "tokenizer.json"),
): TokenizerSource | null {
  if (!existsSync(tokenizerPath)) return null;
  const tokenizerConfig = optionalJson(path.join(folder, "tokenizer_config.json")) ?? {};
  const templatePath = path.join(folder, "chat_template.jinja");
  return {
    origin: tokenizerPath,
    tokenizerJson: readJsonObject(tokenizerPath),
    tokenizerConfig,
    chatTemplate: existsSync(templatePath)
      ? readTextFile(templatePath, maxTemplateBytes)
      : templateOf(tokenizerConfig["chat_template"]),
    generationConfig: optionalJson(path.join(folder, "generation_config.json")),
  };
}

/**
 * A tokenizer named by `--tokenizer`: a folder, a tokenizer.json under any name (its neighbours are read too), or a
 * GGUF file.
 * Throws `file_not_found`, `no_tokenizer`, `invalid_model_file` or `unsupported_format`.
 */
export function loadTokenizerSource(source: string): TokenizerSource {
  if (!existsSync(source)) {
    throw new MillraceError(
      "file_not_found",
      `There is no tokenizer at ${source}. Give a folder with a tokenizer.json, a tokenizer.json, or a GGUF file.`,
    );
  }
  const found = isFolder(source)
    ? readTokenizerFolder(source)
    : isGguf(source)
      ? readGgufTokenizer(readGgufFiles(source))
      : readTokenizerFolder(path.dirname(source), source);
  if (found !== null) return found;
  throw new MillraceError(
    "no_tokenizer",
    `${source} holds no tokenizer. Give a folder with a tokenizer.json, a tokenizer.json, or a GGUF file with tokenizer metadata.`,
  );
}

function isFolder(source: string): boolean {
  return statSync(source).isDirectory();
}

function isGguf(source: string): boolean {
  return source.toLowerCase().endsWith(".gguf");
}

/** tokenizer_config.json holds one template, or a list of named ones of which "default" is taken. */
function templateOf(value: unknown): string | null {
  if (typeof value === "string") return value;
  if (!Array.isArray(value)) return null;
  const named = (value as unknown[]).filter(isJsonObject).find((item) => item["name"] === "default");
  return typeof named?.["template"] === "string" ? named["template"] : null;
}

function optionalJson(file: string): JsonObject | null {
  return existsSync(file) ? readJsonObject(file) : null;
}
