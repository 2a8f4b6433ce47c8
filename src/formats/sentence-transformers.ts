import { existsSync } from "node:fs";
import path from "node:path";
import { ConfigReader } from "./config-reader.ts";
import { isJsonObject, readJsonList, readJsonObject } from "./json-file.ts";

/** What sentence-transformers keeps beside a model (its modules.json and the files that it names). */
export interface SentenceSettings {
  readonly pooling: "mean" | "cls";
  readonly normalize: boolean;
  /** Longest text that the model was trained on, in tokens, or null. */
  readonly maxSeqLength: number | null;
  /** False where the folder has no modules.json and these are defaults. */
  readonly isGiven: boolean;
}

/** Modules of a pipeline that are built here. */
const knownModules = ["Transformer", "Pooling", "Normalize"];

/**
 * Reads how a model folder turns hidden states into one vector; without modules.json the mean, scaled to length 1.
 * Throws `invalid_model_file`, `unsupported_format` for a module or a pooling that is not built here.
 */
export function readSentenceSettings(folder: string): SentenceSettings {
  const file = path.join(folder, "modules.json");
  if (!existsSync(file)) return { pooling: "mean", normalize: true, maxSeqLength: null, isGiven: false };
  const modules = readJsonList(file)
    .filter(isJsonObject)
    .map((module) => {
      const read = new ConfigReader(module, file);
      return {
        kind: (read.text("type") ?? "").split(".").at(-1)!,
        folder: path.join(folder, read.text("path") ?? ""),
      };
    });
  const unknown = modules.find(({ kind }) => !knownModules.includes(kind));
  if (unknown !== undefined) {
    new ConfigReader({ type: unknown.kind }, file).refuse("type", `the modules ${knownModules.join(", ")}`);
  }
  const pooling = modules.find(({ kind }) => kind === "Pooling");
  const length = path.join(folder, "sentence_bert_config.json");
  return {
    pooling: pooling === undefined ? "mean" : readPooling(path.join(pooling.folder, "config.json")),
    normalize: modules.some(({ kind }) => kind === "Normalize"),
    maxSeqLength: existsSync(length)
      ? (new ConfigReader(readJsonObject(length), length).optionalCount("max_seq_length", 1 << 24) ?? null)
      : null,
    isGiven: true,
  };
}

function readPooling(file: string): "mean" | "cls" {
  const json = readJsonObject(file);
  const read = new ConfigReader(json, file);
  const prefix = "pooling_mode_";
  const chosen = Object.keys(json).filter((key) => key.startsWith(prefix) && json[key] === true);
  const [mode = `${prefix}mean_tokens`] = chosen;
  if (chosen.length <= 1 && mode === `${prefix}mean_tokens`) return "mean";
  if (chosen.length === 1 && mode === `${prefix}cls_token`) return "cls";
  return read.refuse(chosen.at(-1)!, "either pooling_mode_mean_tokens or pooling_mode_cls_token alone");
}
