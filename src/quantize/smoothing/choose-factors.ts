import { bf16ToF32, f32ToBf16 } from "../../base/half.ts";
import type { InputSample } from "../calibration/collect-statistics.ts";
import type { RoundingScheme } from "../linear-scheme.ts";

/** How far the factors go: 0 leaves all to the weights, 1 takes all from the input. */
const exponents = Array.from({ length: 11 }, (_, i) => i / 10);

/** Columns of one scale of int8 activations where a file asks for none (`int8-block32`). */
const activationBlock = 32;

/** What is known of the weights that read an input. */
export interface ConsumerStatistics {
  /** [cols] largest |w| of each column over all rows. */
  readonly largest: Float32Array;
}

/**
 * Candidates for the factors of an input, the first all ones. SmoothQuant (Xiao et al. 2022): max|x|^α / max|w|^(1−α);
 * AWQ (Lin et al. 2023) with mean|x| in its place. Each is scaled so that its largest and its smallest are inverse.
 */
export function candidateFactors(
  { largest: inputs, mean }: InputSample,
  { largest: weights }: ConsumerStatistics,
): readonly Float32Array[] {
  const candidates = [new Float32Array(inputs.length).fill(1)];
  for (const size of [inputs, mean]) {
    for (const exponent of exponents) {
      const factors = size.map((x, j) =>
        Math.max(1e-5, Math.max(x, 1e-5) ** exponent / Math.max(weights[j]!, 1e-5) ** (1 - exponent)),
      );
      let low = Infinity;
      let high = 0;
      for (const value of factors) {
        low = Math.min(low, value);
        high = Math.max(high, value);
      }
      const middle = Math.sqrt(low * high);
      candidates.push(factors.map((value) => value / middle));
    }
  }
  return candidates;
}

/** Candidates that a norm can take exactly: its weights stay bf16, and the factors become what that leaves. */
export function fitToNorm(
  candidates: readonly Float32Array[],
  norm: Float32Array,
  offset: number,
): readonly Float32Array[] {
  return candidates.map((factors, index) =>
    index === 0
      ? factors
      : factors.map((factor, j) => {
          const rounded = bf16ToF32(f32ToBf16((norm[j]! + offset) / factor - offset)) + offset;
          return rounded === 0 ? 1 : (norm[j]! + offset) / rounded;
        }),
  );
}

/**
 * The squared error that rounding is expected to bring to the outputs of all consumers, for each candidate: a rounded
 * number is off by a twelfth of its squared step. Steps of the input come from sampled rows, those of weights from each
 * row's or group's largest. Feed it all rows of all consumers.
 */
export class ExpectedErrors {
  readonly #candidates: readonly Float32Array[];
  readonly #scheme: RoundingScheme;
  readonly #sample: InputSample;
  readonly #weightErrors: Float64Array;
  /** [cols] Σ w² over all rows. */
  readonly #energy: Float64Array;
  /** By candidate and group: Σ over sampled rows and the columns of the group of (x / s)². */
  readonly #inputEnergy: readonly Float64Array[];

  constructor(candidates: readonly Float32Array[], sample: InputSample, scheme: RoundingScheme) {
    this.#candidates = candidates;
    this.#scheme = scheme;
    this.#sample = sample;
    this.#weightErrors = new Float64Array(candidates.length);
    this.#energy = new Float64Array(sample.largest.length);
    this.#inputEnergy = candidates.map((factors) => this.#energyOf(factors));
  }

  /** @param values rows of a consumer, [rows, cols] */
  addRows(values: Float32Array): void {
    const cols = this.#energy.length;
    const groupSize = this.#scheme.groupSize ?? cols;
    const range = (2 ** this.#scheme.bits - 1) / 2;
    const sizes = new Float64Array(cols);
    for (let start = 0; start < values.length; start += cols) {
      for (let j = 0; j < cols; j += 1) {
        const value = values[start + j]!;
        this.#energy[j] = this.#energy[j]! + value * value;
        sizes[j] = Math.abs(value);
      }
      for (let c = 0; c < this.#candidates.length; c += 1) {
        const factors = this.#candidates[c]!;
        const inputEnergy = this.#inputEnergy[c]!;
        let sum = 0;
        for (let group = 0, j = 0; j < cols; group += 1) {
          let largest = 0;
          for (const end = j + groupSize; j < end; j += 1) {
            const size = sizes[j]! * factors[j]!;
            if (size > largest) largest = size;
          }
          sum += largest * largest * inputEnergy[group]!;
        }
        this.#weightErrors[c] = this.#weightErrors[c]! + sum / (12 * range * range);
      }
    }
  }

  /** The candidate with the least error; the first of equals. */
  best(): Float32Array {
    const errors = this.#candidates.map(
      (factors, c) => this.#weightErrors[c]! + this.#activationError(factors),
    );
    const least = errors.reduce((best, error, c) => (error < errors[best]! ? c : best), 0);
    return this.#candidates[least]!;
  }

  #activationError(factors: Float32Array): number {
    const cols = factors.length;
    const block = this.#scheme.activations === "int8-token" ? cols : activationBlock;
    const { rows } = this.#sample;
    let sum = 0;
    for (let first = 0; first < cols; first += block) {
      const end = Math.min(cols, first + block);
      let energy = 0;
      for (let j = first; j < end; j += 1) energy += factors[j]! ** 2 * this.#energy[j]!;
      let steps = 0;
      for (let start = 0; start < rows.length; start += cols) {
        let largest = 0;
        for (let j = first; j < end; j += 1)
          largest = Math.max(largest, Math.abs(rows[start + j]! / factors[j]!));
        steps += (largest / 127) ** 2;
      }
      sum += (energy * steps) / 12;
    }
    return sum;
  }

  #energyOf(factors: Float32Array): Float64Array {
    const cols = factors.length;
    const groupSize = this.#scheme.groupSize ?? cols;
    const sums = new Float64Array(cols / groupSize);
    const { rows } = this.#sample;
    for (let start = 0; start < rows.length; start += cols) {
      for (let j = 0; j < cols; j += 1) {
        const group = Math.floor(j / groupSize);
        sums[group] = sums[group]! + (rows[start + j]! / factors[j]!) ** 2;
      }
    }
    return sums;
  }
}
