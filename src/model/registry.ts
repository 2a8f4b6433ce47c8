import { MillraceError } from "../base/errors.ts";
import { buildGemma2 } from "./families/gemma2.ts";
import { buildGemma3 } from "./families/gemma3.ts";
import { buildGranite } from "./families/granite.ts";
import { buildLlama } from "./families/llama.ts";
import { buildMixtral } from "./families/mixtral.ts";
import { buildOlmo2 } from "./families/olmo2.ts";
import { buildPhi3 } from "./families/phi3.ts";
import { buildQwen2 } from "./families/qwen2.ts";
import { buildQwen3 } from "./families/qwen3.ts";
import { buildQwen3Moe } from "./families/qwen3-moe.ts";
import { buildSmolLm3 } from "./families/smollm3.ts";
import type { ModelBuilder } from "./model-builder.ts";

/** By the name in `architectures` of config.json; GGUF names are mapped to these (formats/gguf/families.ts). */
const builders: Readonly<Record<string, ModelBuilder>> = {
  LlamaForCausalLM: buildLlama,
  MistralForCausalLM: buildLlama,
  Qwen2ForCausalLM: buildQwen2,
  Qwen3ForCausalLM: buildQwen3,
  Qwen3MoeForCausalLM: buildQwen3Moe,
  MixtralForCausalLM: buildMixtral,
  Gemma2ForCausalLM: buildGemma2,
  Gemma3ForCausalLM: buildGemma3,
  Phi3ForCausalLM: buildPhi3,
  GraniteForCausalLM: buildGranite,
  SmolLM3ForCausalLM: buildSmolLm3,
  Olmo2ForCausalLM: buildOlmo2,
};

/** Architectures with a definition here, under their names in config.json. */
const knownArchitectures: readonly string[] = Object.keys(builders);

/** The error `unsupported_architecture` for one that has no definition here, naming the file that asks for it. */
export function findArchitectureFault(architecture: string, file: string): MillraceError | undefined {
  if (Object.hasOwn(builders, architecture)) return undefined;
  return new MillraceError(
    "unsupported_architecture",
    `${file} is a model of the architecture ${architecture}, which cannot be run here; known are ${knownArchitectures.join(", ")}. Use a model of one of these families.`,
  );
}

/** For `openCheckpoint`: refuses a model that could not be run before anything else of it is read. */
export function requireArchitecture(architecture: string, file: string): void {
  const fault = findArchitectureFault(architecture, file);
  if (fault !== undefined) throw fault;
}

/** Throws `unsupported_architecture`, naming `file`. */
export function findBuilder(architecture: string, file: string): ModelBuilder {
  requireArchitecture(architecture, file);
  return builders[architecture]!;
}
