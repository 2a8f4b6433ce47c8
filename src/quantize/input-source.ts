import type { Fallback } from "./calibration/fallbacks.ts";
import type { GptqFactors } from "./gptq.ts";
import type { QuantizationTarget } from "./plan.ts";

/** What is known of what goes into a linear, K columns wide. */
export interface LinearInput {
  /** [K] what an error in a column counts, above 0 and 1 on average. */
  readonly importance: Float32Array;
  /** [K, K] Σ x·xᵀ that roundings are judged by; null where the importance is an estimate. */
  readonly heldOutGram: Float32Array | null;
  /** Null where errors are not passed on. */
  readonly factors: GptqFactors | null;
}

/** The least that a column counts, of the mean: scales are searched for, so no column may count nothing. */
export const leastImportance = 1e-6;

/** What rounding can go by. */
export interface FoundInput {
  /** Null where nothing is known that rounding can go by. */
  readonly input: LinearInput | null;
  /** Null where all that the method asks for was found, or it asks for nothing. */
  readonly fallback: Fallback | null;
}

/** Tells what goes into linears. */
export interface InputSource {
  find(target: QuantizationTarget): Promise<FoundInput>;
}

export const nothingFound: FoundInput = { input: null, fallback: null };

/** Of methods that look at one matrix at a time. */
export const noInputs: InputSource = { find: async () => nothingFound };
