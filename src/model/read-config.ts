import { ConfigReader } from "../formats/config-reader.ts";
import type { ModelConfig } from "../formats/model-config.ts";

/** Keys of config.json that only single families know. */
export function readConfig(config: ModelConfig): ConfigReader {
  return new ConfigReader(config.json, "The model's configuration");
}
