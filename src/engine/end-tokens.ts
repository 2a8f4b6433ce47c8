import { existsSync } from "node:fs";
import path from "node:path";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { readJsonObject } from "../formats/json-file.ts";

/**
 * Ids that end a sequence: those of the model's configuration, and those of generation_config.json beside it, where
 * chat models name the end of a turn (the rule of transformers' `generate`). GGUF metadata has only the first.
 */
export function endTokenIds(checkpoint: Checkpoint): number[] {
  const ids = new Set(checkpoint.config.eosTokenIds);
  const file = path.join(checkpoint.path, "generation_config.json");
  if (checkpoint.format === "safetensors" && existsSync(file)) {
    const named = readJsonObject(file)["eos_token_id"];
    const list: unknown[] = Array.isArray(named) ? named : [named];
    for (const id of list) {
      if (typeof id === "number" && Number.isInteger(id) && id >= 0 && id < checkpoint.config.vocabSize)
        ids.add(id);
    }
  }
  return [...ids];
}
