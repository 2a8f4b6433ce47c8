import { MillraceError } from "../../base/errors.ts";
import { readGgufModel } from "../../formats/gguf/config.ts";
import type { GgufFields } from "../../formats/gguf/fields.ts";
import type { GgufTensor } from "../../formats/gguf/header.ts";
import type { GgufValue } from "../../formats/gguf/metadata.ts";
import { ggmlTypeNumber, ggmlTypes } from "../../formats/gguf/tensor-types.ts";
import type { GgufTensorSpec } from "../../formats/gguf/writer.ts";
import type { ModelConfig } from "../../formats/model-config.ts";

/** What a configuration must still say when it is read from the metadata that it was written as. */
const kept: readonly (keyof ModelConfig)[] = [
  "hiddenSize",
  "intermediateSize",
  "numLayers",
  "numHeads",
  "numKvHeads",
  "headDim",
  "vocabSize",
  "maxPositionEmbeddings",
  "rmsNormEps",
  "hiddenAct",
  "slidingWindow",
  "tieWordEmbeddings",
  "experts",
];

/**
 * Reads a configuration back from its metadata before anything is written. Throws `unsupported_format` for what GGUF
 * files of the family cannot say; returns notes on what their readers take for granted.
 */
export function checkGgufConfig(
  config: ModelConfig,
  fields: GgufFields,
  tensors: readonly GgufTensorSpec[],
  ropeFactors: Float32Array | null,
): string[] {
  const file = { path: "the file to write", sizeBytes: 0 };
  const metadata = new Map<string, GgufValue>(
    fields.flatMap(([key, { value }]) =>
      typeof value === "number" || typeof value === "string" || typeof value === "boolean"
        ? [[key, typeof value === "number" ? Math.fround(value) : value]]
        : [],
    ),
  );
  const header = new Map(
    tensors.map(({ name, type, shape }): [string, GgufTensor] => [
      name,
      { name, type: ggmlTypes[ggmlTypeNumber(type)]!, shape, offset: 0, sizeBytes: 0, file },
    ]),
  );
  const { config: read } = readGgufModel(
    { path: file.path, metadata, tensors: header, sizeBytes: 0 },
    ropeFactors,
    () => {},
  );
  for (const key of kept) {
    const [own, other] = [JSON.stringify(config[key]), JSON.stringify(read[key])];
    if (own === other) continue;
    throw new MillraceError(
      "unsupported_format",
      `The model has ${key} = ${own}, which GGUF files of its family cannot say (they mean ${other}). Keep the safetensors folder.`,
    );
  }
  return [...scaleNotes(config, read), ...windowNotes(config)];
}

function scaleNotes(config: ModelConfig, read: ModelConfig): string[] {
  const name = "query_pre_attn_scalar";
  const [own, other] = [config.json[name], read.json[name]];
  if (own === undefined || other === undefined || own === other) return [];
  return [
    `config.json has ${name} = ${JSON.stringify(own)}; GGUF has no key for it and its readers take ${JSON.stringify(other)}.`,
  ];
}

/** Families whose windows llama.cpp reads. */
const windowedElsewhere: ReadonlySet<string> = new Set(["gemma2", "gemma3", "gemma3_text", "phi3"]);

function windowNotes({ slidingWindow, modelType }: ModelConfig): string[] {
  if (slidingWindow === null || windowedElsewhere.has(modelType)) return [];
  return [
    `Attention has a window of ${slidingWindow} tokens. It is in the file and read here, but llama.cpp reads none of ${modelType}: beyond so many tokens its answers differ.`,
  ];
}
