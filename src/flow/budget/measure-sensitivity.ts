import type { Progress } from "../../base/progress.ts";
import { compareLogits } from "../../evaluate/divergence/compare-logits.ts";
import type { Checkpoint } from "../../formats/checkpoint.ts";
import type { LogitSource } from "../../protocol/logit-source.ts";
import { inputNameOf } from "../../quantize/calibration/capture-inputs.ts";
import { tryType, typesFor, withWeights } from "../../quantize/gguf/try-types.ts";
import { listModelParts } from "../../quantize/model-parts.ts";
import type { TypeGroup, TypeOption } from "./allocate-types.ts";
import type { BudgetTools } from "./budget-plan.ts";

export interface SensitivityParts extends Required<Pick<BudgetTools, "openLogits" | "solver" | "signal">> {
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
  const { checkpoint, openLogits, windows, progress, signal } = parts;
  const base = openLogits(checkpoint, "auto", windows);
  const kept = new KeptLogits(base.source, windows);
  base.close();
  const groups = listGroups(checkpoint);
  const found: TypeGroup[] = [];
  progress.start("sensitivity", groups.length);
  for (const modules of groups) {
    signal.throwIfAborted();
    found.push(await measureGroup(modules, kept, parts));
    progress.update(found.length, modules[0]!);
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

async function measureGroup(
  modules: readonly string[],
  kept: KeptLogits,
  { checkpoint, openLogits, windows, solver, signal }: SensitivityParts,
): Promise<TypeGroup> {
  const [first] = modules.map((module) => checkpoint.linear(module).cols);
  const types = typesFor(first!);
  const tries = types.map((type) => modules.map((module) => tryType(checkpoint, module, type, solver)));
  const errors = tries.map((tried) => tried.reduce((sum, { squaredError }) => sum + squaredError, 0));
  const weights = new Map(modules.map((module, i) => [module, tries[0]![i]!.weight]));
  const own = openLogits(withWeights(checkpoint, weights), "auto", windows);
  try {
    const { kl } = await compareLogits({ a: kept, b: own.source, windows, signal });
    const mean = kl.reduce((sum, value) => sum + value, 0) / kl.length;
    const options = types.map((type, i): TypeOption => {
      const sizeBytes = tries[i]!.reduce((sum, tried) => sum + tried.sizeBytes, 0);
      return { type, sizeBytes, kl: errors[0] === 0 ? 0 : (mean * errors[i]!) / errors[0]! };
    });
    return { modules, options };
  } finally {
    own.close();
  }
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
