import type { Weight, WeightForm } from "../base/weights.ts";
import type { ArchitectureListener, ModelConfig } from "./model-config.ts";

/** A whole file's bytes, read only. */
export interface MappedFile {
  readonly buffer: ArrayBuffer;
  /** Gives back the memory of pages that were read; reading them again brings them back. */
  dropPages(): void;
}

/** Maps a whole file. The kernels' addon gives a real mmap; without it the file is read. */
export type FileMapper = (path: string) => MappedFile;

/** What opening a checkpoint needs from outside. */
export interface OpenTools {
  readonly mapFile: FileMapper;
  readonly onArchitecture: ArchitectureListener;
}

/** One tensor as the file stores it; for `inspect`, `plan` and manifests. */
export interface TensorInfo {
  /** The file's own name. */
  readonly name: string;
  /** "BF16", "I32", "Q4_1" … */
  readonly dtype: string;
  /** Outermost dimension first (GGUF's order is reversed on reading). */
  readonly shape: readonly number[];
  readonly sizeBytes: number;
  readonly file: string;
}

export interface MatrixShape {
  readonly rows: number;
  readonly cols: number;
}

/** A tensor by its Hugging Face name, with the shape that it has under that name. */
export type NamedShape = Pick<TensorInfo, "name" | "shape">;

/** What is needed to build a tokenizer, whichever file it came from. */
export interface TokenizerSource {
  /** The file that holds the vocabulary, for errors. */
  readonly origin: string;
  /** tokenizer.json as an object (rebuilt from GGUF metadata where there is no file). */
  readonly tokenizerJson: Readonly<Record<string, unknown>>;
  /**
   * What `tokenizerJson.model.vocab` says, where the file has a list of tokens: that object is made when it is read.
   * Belongs to whoever asked for the source; a tokenizer puts its added tokens there too.
   */
  readonly ids?: Map<string, number>;
  /** tokenizer_config.json as an object: special tokens, add_bos_token, chat_template. */
  readonly tokenizerConfig: Readonly<Record<string, unknown>>;
  /** Jinja text, or null. */
  readonly chatTemplate: string | null;
  /** generation_config.json, or null. */
  readonly generationConfig: Readonly<Record<string, unknown>> | null;
}

/**
 * What a model is built from. Modules and vectors bear Hugging Face names ("model.layers.0.self_attn.q_proj",
 * "model.norm.weight") whatever the format; GGUF q and k rows are un-permuted to the rotate-half convention.
 */
export interface ModelWeights {
  /** For people. */
  readonly path: string;
  readonly config: ModelConfig;
  /** True when `linear(module)` or `vector(name)` would find something. */
  has(name: string): boolean;
  /** The matrix of a linear or an embedding, by module name without ".weight". Throws `tensor_missing`. */
  linear(module: string): Weight;
  /** A one-dimensional tensor (norm, bias) as f32. Throws `tensor_missing`. */
  vector(name: string): Float32Array;
  /** Gives back the memory of file pages that were read; what was handed out stays valid. */
  dropPages(): void;
}

/** A model on disk. */
export interface Checkpoint extends ModelWeights {
  readonly format: "safetensors" | "gguf";
  readonly tensors: readonly TensorInfo[];
  /** Bytes of all weight files. */
  readonly sizeBytes: number;
  /** How the linears are stored, for people: "bf16", "compressed-tensors W4A16 g32", "GGUF Q4_1" … */
  readonly weightFormat: string;
  /**
   * Every tensor under its Hugging Face name ("model.layers.0.mlp.up_proj.weight"; packed parts of compressed linears
   * as they are), or under the file's own where it has none.
   */
  named(): readonly NamedShape[];
  /**
   * What `linear` will give, without a weight being read. Throws what `linear` throws, but for faults of values.
   */
  form(module: string): WeightForm;
  /** The length of `vector(name)`, from the header alone. Throws as it does. */
  vectorLength(name: string): number;
  /** Null when the model comes without a tokenizer. */
  tokenizer(): TokenizerSource | null;
  close(): void;
}
