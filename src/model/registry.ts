import { MillraceError } from "../base/errors.ts";
import type { ModelConfig } from "../formats/model-config.ts";
import type { EncoderModel } from "./encoder-model.ts";
import { BertModel } from "./families/bert.ts";
import { buildGemma } from "./families/gemma.ts";
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
import type { WeightLoader } from "./weight-loader.ts";

type EncoderBuilder = (loader: WeightLoader, config: ModelConfig) => EncoderModel;

/** By the name in `architectures` of config.json; GGUF names are mapped to these (formats/gguf/families.ts). */
const builders: Readonly<Record<string, ModelBuilder>> = {
  LlamaForCausalLM: buildLlama,
  MistralForCausalLM: buildLlama,
  Qwen2ForCausalLM: buildQwen2,
  Qwen3ForCausalLM: buildQwen3,
  Qwen3MoeForCausalLM: buildQwen3Moe,
  MixtralForCausalLM: buildMixtral,
  GemmaForCausalLM: buildGemma,
  Gemma2ForCausalLM: buildGemma2,
  Gemma3ForCausalLM: buildGemma3,
  Phi3ForCausalLM: buildPhi3,
  GraniteForCausalLM: buildGranite,
  SmolLM3ForCausalLM: buildSmolLm3,
  Olmo2ForCausalLM: buildOlmo2,
};

/** Encoders, which make embeddings and no text. */
const encoderBuilders: Readonly<Record<string, EncoderBuilder>> = {
  BertModel: (loader, config) => new BertModel(loader, config),
};

/** Architectures with a definition here, under their names in config.json. */
const knownArchitectures: readonly string[] = [...Object.keys(builders), ...Object.keys(encoderBuilders)];

export function isEncoder(architecture: string): boolean {
  return Object.hasOwn(encoderBuilders, architecture);
}

/** The error `unsupported_architecture` for one that has no definition here, naming the file that asks for it. */
export function findArchitectureFault(architecture: string, file: string): MillraceError | undefined {
  if (Object.hasOwn(builders, architecture) || isEncoder(architecture)) return undefined;
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

/** Throws `unsupported_architecture`, naming `file`, also for an encoder. */
export function findBuilder(architecture: string, file: string): ModelBuilder {
  requireArchitecture(architecture, file);
  if (!isEncoder(architecture)) return builders[architecture]!;
  throw new MillraceError(
    "unsupported_architecture",
    `${file} is a model of the architecture ${architecture}, which makes embeddings and no text. Serve it and ask POST /v1/embeddings, or use a language model.`,
  );
}

/** Throws `unsupported_architecture`, naming `file`, also for a language model. */
export function findEncoderBuilder(architecture: string, file: string): EncoderBuilder {
  requireArchitecture(architecture, file);
  if (isEncoder(architecture)) return encoderBuilders[architecture]!;
  throw new MillraceError(
    "unsupported_architecture",
    `${file} is a model of the architecture ${architecture}, which makes text and no embeddings; ${Object.keys(encoderBuilders).join(", ")} makes them. Use such a model.`,
  );
}
