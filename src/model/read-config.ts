import { ConfigReader } from "../formats/config-reader.ts";
import type { ModelConfig } from "../formats/model-config.ts";

/** Most layers from one of a kind to the next; small models keep the interval of larger ones. */
export const maxInterval: number = 1 << 12;

/** Keys of config.json that only single families know. */
export function readConfig(config: ModelConfig): ConfigReader {
  return new ConfigReader(config.json, "The model's configuration");
}
