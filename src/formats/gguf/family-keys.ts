import { MillraceError } from "../../base/errors.ts";
import type { GgufKeys } from "./metadata.ts";

export interface GgufShape {
  readonly numLayers: number;
  readonly hiddenSize: number;
  readonly numHeads: number;
  readonly headDim: number;
  /** Columns of a head that are rotated. */
  readonly rotaryDim: number;
}

/** What a family reads of a file beyond what all have. */
export interface GgufFamilyKeys {
  readonly shape: GgufShape;
  /** Base and scaling of the main rotation, as in transformers 5 `rope_parameters`. */
  readonly rope: Readonly<Record<string, unknown>>;
  optional(key: string): number | undefined;
  required(key: string): number;
  /** Throws `unsupported_format`. */
  refuse(seen: string, supported: string): never;
}

/** Keys under "<architecture>.". */
export class ArchitectureKeys {
  readonly all: GgufKeys;
  readonly path: string;
  readonly #prefix: string;

  constructor(all: GgufKeys, architecture: string, path: string) {
    this.all = all;
    this.path = path;
    this.#prefix = `${architecture}.`;
  }

  optional(key: string): number | undefined {
    return this.all.uniformNumber(this.#prefix + key);
  }

  text(key: string): string | undefined {
    return this.all.text(this.#prefix + key);
  }

  required(key: string): number {
    const value = this.optional(key);
    if (value !== undefined) return value;
    throw new MillraceError(
      "invalid_model_file",
      `${this.path} has no metadata ${this.#prefix}${key}, which the model needs. Fetch the file again or convert the model again.`,
    );
  }

  refuse(seen: string, supported: string): never {
    throw new MillraceError(
      "unsupported_format",
      `${this.path} has ${seen}; only ${supported} is read. Use the model's safetensors folder.`,
    );
  }
}

/** An f32 from metadata as the shortest decimal of the same f32: 1e-5 instead of 0.000009999999747378752. */
export function exactDecimal(value: number): number {
  const short = Number(value.toPrecision(7));
  return Math.fround(short) === Math.fround(value) ? short : value;
}
