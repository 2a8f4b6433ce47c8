import { MillraceError } from "../../base/errors.ts";
import type { RopeConfig } from "../../formats/model-config.ts";

/** Angles per position of the rotary pairs, and a factor on cos and sin. */
export interface RopeFrequencies {
  /** [rotaryDim / 2] radians per position, f32. */
  readonly inverse: Float32Array;
  /** Multiplies cos and sin (YaRN's attention temperature); 1 otherwise. */
  readonly attentionFactor: number;
}

/**
 * Rotary frequencies as transformers computes them in f32 ("RoFormer", Su et al. 2021, section 3.4.2), with the
 * scalings `linear`, `llama3` and `yarn` ("YaRN", Peng et al. 2023, section 3).
 *
 * Errors: `unsupported_format` for another scaling, `invalid_model_file` for a missing parameter.
 */
export function ropeFrequencies(rope: RopeConfig, rotaryDim: number, maxPositions: number): RopeFrequencies {
  const base = baseFrequencies(rope.theta, rotaryDim);
  if (rope.scaling === null) return { inverse: base, attentionFactor: 1 };
  const scaling = new ScalingReader(rope.scaling);
  const type = scaling.type;
  switch (type) {
    case "linear": {
      const factor = scaling.number("factor");
      return { inverse: base.map((frequency) => Math.fround(frequency / factor)), attentionFactor: 1 };
    }
    case "llama3":
      return { inverse: llama3Frequencies(base, scaling), attentionFactor: 1 };
    case "yarn":
      return yarnFrequencies(base, rope.theta, rotaryDim, maxPositions, scaling);
    default:
      throw new MillraceError(
        "unsupported_format",
        `RoPE scaling "${type}" has no definition here; linear, llama3 and yarn have. Use a model with one of these.`,
      );
  }
}

function baseFrequencies(theta: number, rotaryDim: number): Float32Array {
  const inverse = new Float32Array(rotaryDim / 2);
  for (let pair = 0; pair < inverse.length; pair += 1) {
    const exponent = Math.fround((2 * pair) / rotaryDim);
    inverse[pair] = 1 / Math.fround(theta ** exponent);
  }
  return inverse;
}

/** Llama 3.1: long wavelengths divided by the factor, short ones kept, a smooth ramp between. */
function llama3Frequencies(base: Float32Array, scaling: ScalingReader): Float32Array {
  const factor = scaling.number("factor");
  const low = scaling.number("low_freq_factor");
  const high = scaling.number("high_freq_factor");
  const original = scaling.number("original_max_position_embeddings");
  return base.map((frequency) => {
    const wavelength = (2 * Math.PI) / frequency;
    if (wavelength > original / low) return frequency / factor;
    if (wavelength < original / high) return frequency;
    const smooth = (original / wavelength - low) / (high - low);
    return ((1 - smooth) * frequency) / factor + smooth * frequency;
  });
}

function yarnFrequencies(
  base: Float32Array,
  theta: number,
  rotaryDim: number,
  maxPositions: number,
  scaling: ScalingReader,
): RopeFrequencies {
  const original = scaling.optional("original_max_position_embeddings") ?? maxPositions;
  const factor = scaling.optional("factor") ?? maxPositions / original;
  const rotations = (count: number): number =>
    (rotaryDim * Math.log(original / (count * 2 * Math.PI))) / (2 * Math.log(theta));
  const truncate = scaling.flag("truncate") ?? true;
  const fast = rotations(scaling.optional("beta_fast") ?? 32);
  const slow = rotations(scaling.optional("beta_slow") ?? 1);
  const low = Math.max(truncate ? Math.floor(fast) : fast, 0);
  const high = Math.min(truncate ? Math.ceil(slow) : slow, rotaryDim - 1);
  const width = high === low ? 0.001 : high - low;
  const inverse = base.map((frequency, pair) => {
    const ramp = Math.min(1, Math.max(0, (pair - low) / width));
    return (frequency / factor) * ramp + frequency * (1 - ramp);
  });
  return { inverse, attentionFactor: yarnAttentionFactor(factor, scaling) };
}

function yarnAttentionFactor(factor: number, scaling: ScalingReader): number {
  const given = scaling.optional("attention_factor");
  if (given !== undefined) return given;
  const temperature = (scale: number, weight: number): number =>
    scale <= 1 ? 1 : 0.1 * weight * Math.log(scale) + 1;
  const mscale = scaling.optional("mscale");
  const mscaleAllDim = scaling.optional("mscale_all_dim");
  if (mscale && mscaleAllDim) return temperature(factor, mscale) / temperature(factor, mscaleAllDim);
  return temperature(factor, 1);
}

/** Reads scaling parameters under transformers' names. */
class ScalingReader {
  readonly #values: Readonly<Record<string, unknown>>;

  constructor(values: Readonly<Record<string, unknown>>) {
    this.#values = values;
  }

  get type(): string {
    return String(this.#values["rope_type"] ?? this.#values["type"]);
  }

  optional(key: string): number | undefined {
    const value = this.#values[key];
    if (value === undefined || value === null) return undefined;
    if (typeof value === "number" && Number.isFinite(value)) return value;
    throw this.#fault(key, value);
  }

  number(key: string): number {
    const value = this.optional(key);
    if (value === undefined || value <= 0) throw this.#fault(key, value);
    return value;
  }

  flag(key: string): boolean | undefined {
    const value = this.#values[key];
    return typeof value === "boolean" ? value : undefined;
  }

  #fault(key: string, value: unknown): MillraceError {
    return new MillraceError(
      "invalid_model_file",
      `The RoPE scaling "${this.type}" has ${key} = ${JSON.stringify(value)}; it takes a positive number. Correct config.json.`,
    );
  }
}
