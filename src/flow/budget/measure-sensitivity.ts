import type { Progress } from "../../base/progress.ts";
import { compareLogits } from "../../evaluate/divergence/compare-logits.ts";
import type { Checkpoint, ModelWeights } from "../../formats/checkpoint.ts";
import { withWeights } from "../../formats/with-weights.ts";
import type { LogitSource } from "../../protocol/logit-source.ts";
import { inputNameOf } from "../../quantize/calibration/capture-inputs.ts";
import { tryType, typesFor } from "../../quantize/gguf/try-types.ts";
import { listModelParts } from "../../quantize/model-parts.ts";
import type { TypeGroup, TypeOption } from "./allocate-types.ts";
import type { BudgetTools, LogitVariants } from "./budget-plan.ts";

export interface SensitivityParts extends Required<Pick<BudgetTools, "openVariants" | "solver" | "signal">> {
  readonly checkpoint: Checkpoint;
  /** Sequences of token ids that the KL is measured on: not those that results are judged by. */
  readonly windows: readonly Int32Array[];
  readonly progress: Progress;
}

/**
 * What each block type costs each group of matrices that run as one, in KL. The model runs once for each group, with that
 * group alone in the type of the fewest bits; what other types cost goes by their squared errors, to which KL is
 * proportional where it is small.
 */
export async function measureSensitivity(parts: SensitivityParts): Promise<readonly TypeGroup[]> {
  const { checkpoint, openVariants, windows, progress, signal } = parts;
  const groups = listGroups(checkpoint);
  const own = new Map(groups.flat().map((module) => [module, checkpoint.linear(module)]));
  const base = withWeights(checkpoint, own);
  const variants = openVariants(windows);
  const found: TypeGroup[] = [];
  try {
    const kept = new KeptLogits(variants.open(base), windows);
    progress.start("sensitivity", groups.length);
    for (const modules of groups) {
      signal.throwIfAborted();
      found.push(await measureGroup(modules, { kept, base, variants }, parts));
      progress.update(found.length, modules[0]!);
    }
  } finally {
    variants.close();
  }
  progress.finish(`the sensitivity of ${groups.length} groups of matrices`);
  return found;
}

/** Linears by their input, and the embedding. */
function listGroups(checkpoint: Checkpoint): readonly (readonly string[])[] {
  const { linears, dense } = listModelParts(checkpoint);
  const groups = new Map<string, string[]>();
  const tables = dense.filter(({ module }) => !module.startsWith("model.layers."));
  for (const { module } of [...tables, ...linears]) {
    const input = inputNameOf(module);
    groups.set(input, [...(groups.get(input) ?? []), module]);
  }
  return [...groups.values()];
}

interface OpenedBase {
  readonly kept: KeptLogits;
  readonly base: ModelWeights;
  readonly variants: LogitVariants;
}

async function measureGroup(
  modules: readonly string[],
  { kept, base, variants }: OpenedBase,
  { checkpoint, windows, solver, signal }: SensitivityParts,
): Promise<TypeGroup> {
  const [first] = modules.map((module) => checkpoint.linear(module).cols);
  const types = typesFor(first!);
  const tries = types.map((type) => modules.map((module) => tryType(checkpoint, module, type, solver)));
  const errors = tries.map((tried) => tried.reduce((sum, { squaredError }) => sum + squaredError, 0));
  const weights = new Map(modules.map((module, i) => [module, tries[0]![i]!.weight]));
  const [found] = await compareLogits({
    a: kept,
    others: [variants.open(withWeights(base, weights))],
    windows,
    signal,
  });
  const { kl } = found!;
  const mean = kl.reduce((sum, value) => sum + value, 0) / kl.length;
  const options = types.map((type, i): TypeOption => {
    const sizeBytes = tries[i]!.reduce((sum, tried) => sum + tried.sizeBytes, 0);
    return { type, sizeBytes, kl: errors[0] === 0 ? 0 : (mean * errors[i]!) / errors[0]! };
  });
  return { modules, options };
}

/** All distributions of a model over some windows, computed once. */
class KeptLogits implements LogitSource {
  readonly vocabSize: number;
  readonly maxRows: number;
  readonly #rows = new Map<Int32Array, Float32Array>();

  constructor(source: LogitSource, windows: readonly Int32Array[]) {
    const { vocabSize, maxRows } = source;
    this.vocabSize = vocabSize;
    this.maxRows = maxRows;
    for (const window of windows) {
      const numTokens = window.length - 1;
      const rows = new Float32Array(numTokens * vocabSize);
      for (let first = 0; first < numTokens; first += maxRows) {
        const count = Math.min(maxRows, numTokens - first);
        source.read(window, first, count, rows.subarray(first * vocabSize, (first + count) * vocabSize));
      }
      this.#rows.set(window, rows);
    }
  }

  read(window: Int32Array, first: number, count: number, rows: Float32Array): void {
    const { vocabSize } = this;
    rows.set(this.#rows.get(window)!.subarray(first * vocabSize, (first + count) * vocabSize));
  }
}
