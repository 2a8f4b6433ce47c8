import type { EngineSettings } from "../config/engine-settings.ts";
import { startEngineWorker } from "../engine/worker-client.ts";
import type { OpenScorer } from "../flow/flow-plan.ts";
import { engineOptionsOf, openModel, openTokenizer } from "./model-source.ts";

/** Opens a model in a worker for log-likelihoods. */
export async function openLocalScorer(
  modelPath: string,
  settings: EngineSettings,
  given: { readonly tokenizer?: string | undefined } = {},
): Promise<OpenScorer> {
  const checkpoint = openModel(modelPath);
  const { tokenizer } = openTokenizer(checkpoint, given);
  checkpoint.close();
  const client = await startEngineWorker(engineOptionsOf(modelPath, settings));
  const { info } = client;
  return {
    scorer: client,
    tokenizer,
    maxLength: info.maxModelLen,
    modelArgs: {
      pretrained: modelPath,
      dtype: info.dtype,
      activations: info.activations,
      backend: info.backend,
      isa: info.isa,
    },
    close: () => client.close(),
  };
}
