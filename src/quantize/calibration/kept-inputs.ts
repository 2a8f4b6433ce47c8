import type { InputSample, InputStatistics } from "./collect-statistics.ts";
import type { FloatModel } from "./float-model.ts";

/** The float model as the last run opened it and what that found of its inputs, for further runs. */
export class KeptInputs {
  readonly statistics = new Kept<InputStatistics>();
  readonly samples = new Kept<InputSample>();
  #model: { readonly key: string; readonly model: FloatModel } | null = null;

  /** The model of a key, opened once. */
  floatModel(key: string, open: () => FloatModel): FloatModel {
    if (this.#model?.key !== key) this.#model = { key, model: open() };
    return this.#model.model;
  }
}

/** Findings by the name of the input, of one key: another one takes their place. */
class Kept<T> {
  #key = "";
  #found: ReadonlyMap<string, T> = new Map();

  isOf(key: string): boolean {
    return this.#key === key;
  }

  /**
   * Findings for all inputs, by name and width; `make` gives those that are not kept yet. What nobody asked for goes
   * before, so that no more is held than without.
   */
  async complete(
    key: string,
    inputs: ReadonlyMap<string, number>,
    make: (missing: ReadonlyMap<string, number>) => Promise<ReadonlyMap<string, T>>,
  ): Promise<ReadonlyMap<string, T>> {
    const known = this.isOf(key) ? this.#found : new Map<string, T>();
    const missing = new Map([...inputs].filter(([name]) => !known.has(name)));
    if (missing.size === 0) return known;
    this.#key = key;
    this.#found = new Map([...known].filter(([name]) => inputs.has(name)));
    this.#found = new Map([...this.#found, ...(await make(missing))]);
    return this.#found;
  }
}
