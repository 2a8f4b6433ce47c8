import { MillraceError } from "../../base/errors.ts";
import type { ModelConfig, RopeConfig } from "../../formats/model-config.ts";
import type { Ops, RopeTable } from "../../kernels/ops.ts";

export interface RopeOptions {
  readonly theta: number;
  /** Even; the columns of a head that are rotated. */
  readonly rotaryDim: number;
  /** The checkpoint's `RopeConfig.scaling`. */
  readonly scaling: Readonly<Record<string, unknown>> | null;
  /** Context length of the pre-trained model, where `scaling` does not say. */
  readonly maxPositionEmbeddings: number;
  /** Longest context that is run; default `maxPositionEmbeddings`. LongRoPE picks its factors by it. */
  readonly maxModelLen?: number;
}

export interface RopeFrequencies {
  /** [rotaryDim / 2], radians per position. */
  readonly inverse: Float32Array;
  /** Multiplies cos and sin (yarn's temperature). */
  readonly attentionFactor: number;
}

type Scale = (base: Float32Array, options: RopeOptions, scaling: ScalingReader) => RopeFrequencies;

const scalings: Readonly<Record<string, Scale>> = {
  default: (base) => ({ inverse: base, attentionFactor: 1 }),
  linear: scaleLinear,
  llama3: scaleLlama3,
  yarn: scaleYarn,
  longrope: scaleLongRope,
  su: scaleLongRope,
  "frequency-factors": scaleByFactors,
};

/**
 * Rotation frequencies in f32 with the roundings of transformers 5 (`modeling_rope_utils`).
 * Throws `unsupported_format` for a scaling type without a rule here, `invalid_model_file` for absurd parameters.
 */
export function computeFrequencies(options: RopeOptions): RopeFrequencies {
  const { theta, rotaryDim, scaling } = options;
  const base = new Float32Array(rotaryDim / 2);
  for (let i = 0; i < base.length; i += 1) base[i] = 1 / positionFrequency(theta, i, rotaryDim);
  if (scaling === null) return { inverse: base, attentionFactor: 1 };
  const type = scaling["rope_type"] ?? scaling["type"] ?? "default";
  const scale = typeof type === "string" && Object.hasOwn(scalings, type) ? scalings[type] : undefined;
  if (scale === undefined) {
    throw new MillraceError(
      "unsupported_format",
      `The model scales RoPE by ${JSON.stringify(type)}; known are ${Object.keys(scalings).join(", ")}. Use another model.`,
    );
  }
  return scale(base, options, new ScalingReader(scaling));
}

/** Columns of a head that are rotated, the first ones (transformers: the whole part of the product). */
export function rotaryDimOf({ headDim, rope }: ModelConfig): number {
  return Math.trunc(headDim * rope.partialRotaryFactor);
}

/** The table of a model's rotation, or of another one with the same shape. */
export function loadModelRope(
  ops: Ops,
  config: ModelConfig,
  maxModelLen: number,
  { theta, scaling }: Pick<RopeConfig, "theta" | "scaling"> = config.rope,
): RopeTable {
  const { maxPositionEmbeddings } = config;
  const options = { theta, scaling, rotaryDim: rotaryDimOf(config), maxPositionEmbeddings };
  return loadRopeTable(ops, options, maxModelLen);
}

/** Loads cos and sin of positions 0 … maxPositions − 1: angle, cosine and product each rounded to f32. */
export function loadRopeTable(ops: Ops, options: RopeOptions, maxPositions: number): RopeTable {
  const { inverse, attentionFactor } = computeFrequencies({ ...options, maxModelLen: maxPositions });
  const half = inverse.length;
  const cos = new Float32Array(maxPositions * half);
  const sin = new Float32Array(maxPositions * half);
  const factor = Math.fround(attentionFactor);
  for (let position = 0; position < maxPositions; position += 1) {
    for (let i = 0; i < half; i += 1) {
      const angle = Math.fround(position * inverse[i]!);
      cos[position * half + i] = Math.fround(Math.cos(angle)) * factor;
      sin[position * half + i] = Math.fround(Math.sin(angle)) * factor;
    }
  }
  return ops.loadRope(cos, sin, options.rotaryDim);
}

/** theta ^ (2i / rotaryDim) in f32. */
function positionFrequency(theta: number, i: number, rotaryDim: number): number {
  return Math.fround(theta ** Math.fround((2 * i) / rotaryDim));
}

function scaleLinear(base: Float32Array, _options: RopeOptions, scaling: ScalingReader): RopeFrequencies {
  const factor = scaling.positive("factor");
  return { inverse: base.map((frequency) => frequency / factor), attentionFactor: 1 };
}

/** Long wavelengths are stretched by `factor`, short ones kept, those between blended (Llama 3.1). */
function scaleLlama3(base: Float32Array, options: RopeOptions, scaling: ScalingReader): RopeFrequencies {
  const factor = scaling.positive("factor");
  const low = scaling.positive("low_freq_factor");
  const high = scaling.positive("high_freq_factor");
  const context = scaling.optional("original_max_position_embeddings") ?? options.maxPositionEmbeddings;
  const inverse = base.map((frequency) => {
    const wavelength = Math.fround((2 * Math.PI) / frequency);
    if (wavelength > context / low) return frequency / factor;
    if (wavelength < context / high) return frequency;
    const smooth = Math.fround(Math.fround(Math.fround(context / wavelength) - low) / (high - low));
    const stretched = Math.fround(Math.fround(Math.fround(1 - smooth) * frequency) / factor);
    return stretched + Math.fround(smooth * frequency);
  });
  return { inverse, attentionFactor: 1 };
}

/** Rotations over the context beyond and below which a frequency is kept or stretched (YaRN, section 3.2, for Llama). */
const betaFast = 32;
const betaSlow = 1;

/** NTK by parts with a temperature (Peng et al. 2023, "YaRN", section 3). */
function scaleYarn(base: Float32Array, options: RopeOptions, scaling: ScalingReader): RopeFrequencies {
  const { theta, rotaryDim, maxPositionEmbeddings } = options;
  const context = scaling.optional("original_max_position_embeddings") ?? maxPositionEmbeddings;
  const factor = scaling.optional("factor") ?? maxPositionEmbeddings / context;
  const correction = (rotations: number): number =>
    (rotaryDim * Math.log(context / (rotations * 2 * Math.PI))) / (2 * Math.log(theta));
  const first = correction(scaling.optional("beta_fast") ?? betaFast);
  const last = correction(scaling.optional("beta_slow") ?? betaSlow);
  const truncate = scaling.flag("truncate") ?? true;
  const low = Math.max(truncate ? Math.floor(first) : first, 0);
  let high = Math.min(truncate ? Math.ceil(last) : last, rotaryDim - 1);
  // Keeps the ramp's slope finite, as transformers does.
  if (low === high) high += 0.001;
  const inverse = base.map((frequency, i) => {
    const ramp = Math.fround(Math.fround(i - low) / (high - low));
    const kept = Math.fround(1 - Math.max(0, Math.min(1, ramp)));
    const stretched = Math.fround(1 / Math.fround(factor * positionFrequency(theta, i, rotaryDim)));
    return Math.fround(stretched * Math.fround(1 - kept)) + Math.fround(frequency * kept);
  });
  return { inverse, attentionFactor: yarnTemperature(factor, scaling) };
}

function yarnTemperature(factor: number, scaling: ScalingReader): number {
  const given = scaling.optional("attention_factor");
  if (given !== undefined) return given;
  const temperature = (mscale: number): number => (factor <= 1 ? 1 : 0.1 * mscale * Math.log(factor) + 1);
  const mscale = scaling.optional("mscale");
  const mscaleAll = scaling.optional("mscale_all_dim");
  if (mscale !== undefined && mscaleAll !== undefined) return temperature(mscale) / temperature(mscaleAll);
  return temperature(1);
}

/**
 * A divisor for each frequency, one list for contexts up to the original length and one beyond (Ding et al. 2024,
 * "LongRoPE"). Why by the longest context and not by each text's length, as transformers does: a text that grows past
 * the original length would change all its keys.
 */
function scaleLongRope(_base: Float32Array, options: RopeOptions, scaling: ScalingReader): RopeFrequencies {
  const { theta, rotaryDim, maxPositionEmbeddings, maxModelLen = maxPositionEmbeddings } = options;
  const context = scaling.positive("original_max_position_embeddings");
  const factors = scaling.list(maxModelLen > context ? "long_factor" : "short_factor", rotaryDim / 2);
  const inverse = Float32Array.from(factors, (factor, i) => {
    return 1 / Math.fround(Math.fround(factor) * positionFrequency(theta, i, rotaryDim));
  });
  const factor = scaling.optional("factor") ?? maxPositionEmbeddings / context;
  const growth = factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(context));
  return { inverse, attentionFactor: scaling.optional("attention_factor") ?? growth };
}

/** GGUF's `rope_freqs.weight`: a divisor for each frequency. */
function scaleByFactors(base: Float32Array, _options: RopeOptions, scaling: ScalingReader): RopeFrequencies {
  const factors = scaling.list("factors", base.length);
  return { inverse: base.map((frequency, i) => frequency / factors[i]!), attentionFactor: 1 };
}

/** Checked access to the parameters of a RoPE scaling. */
class ScalingReader {
  readonly #scaling: Readonly<Record<string, unknown>>;

  constructor(scaling: Readonly<Record<string, unknown>>) {
    this.#scaling = scaling;
  }

  positive(key: string): number {
    return this.optional(key) ?? this.#fail(key, "a number above 0");
  }

  /** Absent, null and, as in transformers, 0 count as not given. */
  optional(key: string): number | undefined {
    const value = this.#scaling[key] ?? undefined;
    if (value === undefined || value === 0) return undefined;
    return isPositive(value) ? value : this.#fail(key, "a number above 0");
  }

  flag(key: string): boolean | undefined {
    const value = this.#scaling[key] ?? undefined;
    return value === undefined || typeof value === "boolean" ? value : this.#fail(key, "true or false");
  }

  list(key: string, length: number): readonly number[] {
    const value: unknown = this.#scaling[key];
    const fits = Array.isArray(value) && value.length === length && value.every(isPositive);
    return fits ? (value as number[]) : this.#fail(key, `a list of ${length} numbers above 0`);
  }

  #fail(key: string, allowed: string): never {
    const seen = JSON.stringify(this.#scaling[key]) ?? "nothing";
    throw new MillraceError(
      "invalid_model_file",
      `The model's RoPE scaling has ${key} = ${seen.slice(0, 60)}; it must be ${allowed}. Correct its configuration or fetch the model again.`,
    );
  }
}

function isPositive(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value) && value > 0;
}
