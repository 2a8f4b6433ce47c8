import type { NamedShape } from "../formats/checkpoint.ts";
import type { ModelConfig } from "../formats/model-config.ts";
import type { LinearWeight, Ops, VectorWeight } from "../kernels/ops.ts";
import { PlannedOps } from "../kernels/planned/planned-ops.ts";
import { findBuilder } from "./registry.ts";
import type { LinearSpec, WeightLoader } from "./weight-loader.ts";

/**
 * The tensors that a model of this configuration reads, by Hugging Face name, in the order in which they are read: its
 * definition is built once over a loader that has no weights and notes what it is asked for.
 * Throws `unsupported_architecture`, `unsupported_format`, naming `file`.
 */
export function listParameters(config: ModelConfig, file: string): NamedShape[] {
  const build = findBuilder(config.architecture, file);
  const recorder = new ParameterRecorder(new PlannedOps());
  build(recorder, config, 1);
  return [...recorder.shapes].map(([name, shape]) => ({ name, shape }));
}

/** Weights without content: enough for a definition to be built, not to be run. */
class ParameterRecorder implements WeightLoader {
  readonly ops: Ops;
  readonly shapes: Map<string, readonly number[]> = new Map();

  constructor(ops: Ops) {
    this.ops = ops;
  }

  linear({ parts, cols, name, layout = "rows" }: LinearSpec): LinearWeight {
    for (const { module, rows, slice } of parts)
      this.shapes.set(`${module}.weight`, [slice?.total ?? rows, cols]);
    const rows = parts.reduce((sum, part) => sum + part.rows, 0);
    return { id: -1, name, rows, cols, inputForm: "f32", weightForm: "none", layout, sizeBytes: 0 };
  }

  vector(name: string, length: number): VectorWeight {
    this.shapes.set(name, [length]);
    return { id: -1, length };
  }

  bias({ parts }: LinearSpec, isRequired: boolean): { readonly bias?: VectorWeight } {
    if (!isRequired) return {};
    for (const { module, rows, slice } of parts) this.shapes.set(`${module}.bias`, [slice?.total ?? rows]);
    return { bias: { id: -1, length: parts.reduce((sum, part) => sum + part.rows, 0) } };
  }
}
