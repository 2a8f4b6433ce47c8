type Scaling = Readonly<Record<string, unknown>>;

/** The constants of every published Llama 3 model; only `factor` differs between them. */
const llama3 = { low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 8192 } as const;

/** Converters compute the divisors in f32, a few roundings of 6e-8 each; other parameters differ by far more. */
const relativeError = 1e-5;

/**
 * RoPE scaling behind the tensor `rope_freqs.weight`, a divisor for each frequency. GGUF metadata does not carry
 * the parameters that the divisors came from, so the usual Llama 3 ones are tried: where they give the same
 * divisors the result is "llama3", which config.json can express, else "frequency-factors" with the divisors.
 */
export function scalingFromFactors(factors: Float32Array, theta: number): Scaling {
  const factor = Math.round(Math.max(...factors));
  const expected = llama3Factors(factors.length, theta, { factor, ...llama3 });
  const isNear = (value: number, other: number): boolean => Math.abs(value - other) <= relativeError * other;
  const isLlama3 = factors.every((value, i) => isNear(value, expected[i]!));
  if (isLlama3 && factor > 1) return { rope_type: "llama3", factor, ...llama3 };
  return { rope_type: "frequency-factors", factors: [...factors] };
}

/** `rope_parameters` of Llama 3 scaling under transformers' names. */
export interface Llama3Scaling {
  readonly factor: number;
  readonly low_freq_factor: number;
  readonly high_freq_factor: number;
  readonly original_max_position_embeddings: number;
}

/** Divisors of the `count` rotation frequencies under Llama 3 scaling (Llama 3.1 model code). */
export function llama3Factors(count: number, theta: number, scaling: Llama3Scaling): number[] {
  const {
    factor,
    low_freq_factor: low,
    high_freq_factor: high,
    original_max_position_embeddings: context,
  } = scaling;
  return Array.from({ length: count }, (_, i) => {
    const wavelength = 2 * Math.PI * theta ** (i / count);
    if (wavelength < context / high) return 1;
    if (wavelength > context / low) return factor;
    const smooth = (context / wavelength - low) / (high - low);
    return 1 / ((1 - smooth) / factor + smooth);
  });
}
