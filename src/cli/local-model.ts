import type { EngineSettings } from "../config/engine-settings.ts";
import { startEngineWorker } from "../engine/worker-client.ts";
import { TokenModel } from "../evaluate/requests/token-model.ts";
import type { TaskModel } from "../flow/flow-plan.ts";
import { createEngineCompleter } from "../text/engine-completer.ts";
import { engineOptionsOf } from "./engine-options.ts";
import { kernelsText } from "./kernels-text.ts";
import { openModel, openTokenizer } from "./model-source.ts";
import { withScoringCache } from "./scoring-cache.ts";

/** Opens a model in a worker to answer tasks, which may be none with written answers. */
export async function openLocalModel(
  modelPath: string,
  settings: EngineSettings,
  given: { readonly tokenizer?: string | undefined; readonly isScoringOnly?: boolean } = {},
): Promise<TaskModel> {
  const checkpoint = openModel(modelPath);
  const { tokenizer } = openTokenizer(checkpoint, given);
  const options = engineOptionsOf(modelPath, settings);
  const fitted = given.isScoringOnly ? withScoringCache(options, checkpoint) : options;
  checkpoint.close();
  const client = await startEngineWorker(fitted);
  const { info } = client;
  return {
    model: new TokenModel({
      tokenizer,
      maxLength: info.maxModelLen,
      scorer: client,
      completer: createEngineCompleter(client, tokenizer),
    }),
    modelArgs: {
      pretrained: modelPath,
      dtype: info.dtype,
      activations: info.activations,
      attention_dtype: info.attentionDtype,
      backend: info.backend,
      isa: info.isa,
    },
    tokenizer,
    kernels: kernelsText(info),
    close: () => client.close(),
  };
}
