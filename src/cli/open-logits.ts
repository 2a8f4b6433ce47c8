import type { PrecisionSettings } from "../config/engine-settings.ts";
import type { ModelWeights } from "../formats/checkpoint.ts";
import { modelNameOf } from "../formats/model-name.ts";
import type { Ops } from "../kernels/ops.ts";
import { SequenceLogits } from "../model/forward-once.ts";
import { loadModel } from "../model/load-model.ts";
import { printNote } from "./terminal.ts";

export interface LogitsOptions {
  readonly precision: Pick<PrecisionSettings, "dtype" | "activations">;
  /** What will be read: [1 + predicted tokens] each. */
  readonly windows: readonly Int32Array[];
}

/** Loads a model to read its distributions over windows; `ops.close` ends it. */
export function openLogits(
  ops: Ops,
  checkpoint: ModelWeights,
  { precision, windows }: LogitsOptions,
): SequenceLogits {
  const maxTokens = Math.max(...windows.map(({ length }) => length - 1));
  const { dtype, activations } = precision;
  const loaded = loadModel(ops, checkpoint, { dtype, activations, maxModelLen: maxTokens });
  for (const note of loaded.notes) printNote(`${modelNameOf(checkpoint.path)}: ${note}`);
  const kvDtype = loaded.activations === "f32" ? "f32" : "f16";
  return new SequenceLogits({ ops, model: loaded.model, kvDtype, maxTokens });
}
