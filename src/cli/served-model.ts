import type { Logger } from "../base/logger.ts";
import { formatBytes, formatDuration } from "../base/units.ts";
import { GrammarPool } from "../grammar/grammar-pool.ts";
import type { EngineClient } from "../protocol/engine-client.ts";
import type { ServedModel } from "../server/served-model.ts";
import { ScoreMemory } from "../text/score-memory.ts";
import { generationDefaultsOf } from "./generation-defaults.ts";
import { kernelsText } from "./kernels-text.ts";
import { openModel, openTokenizer } from "./model-source.ts";
import type { ServeSettings } from "./serve-settings.ts";

/** Which model, under which names, with which files beside its own. */
export interface ModelChoice {
  readonly id: string;
  readonly aliases: readonly string[];
  readonly modelPath: string;
  readonly source: Partial<ServeSettings["source"]>;
}

/** A model as the server offers it. Its pool of grammars has threads as soon as a request asks for one; `close` ends them. */
export function describeModel(
  client: EngineClient,
  { id, aliases, modelPath, source: files }: ModelChoice,
  { server: settings }: ServeSettings,
  logger: Logger,
): { readonly model: ServedModel; readonly close: () => Promise<void> } {
  const checkpoint = openModel(modelPath);
  const { tokenizer, source } = openTokenizer(checkpoint, files);
  checkpoint.close();
  logStart(logger, client);
  const ownConfig = settings.generationConfig === "none" ? {} : (source.generationConfig ?? {});
  const generationDefaults = generationDefaultsOf(ownConfig, settings.overrideGenerationConfig ?? {});
  if (Object.keys(generationDefaults).length > 0) {
    logger.info(
      `Sampling where a request says nothing: ${JSON.stringify(generationDefaults)} (--generation-config none leaves out the model's own)`,
    );
  }
  const { vocabSize, eosTokenIds: endTokenIds } = client.info;
  const grammars = new GrammarPool({ tokenizer, vocabSize, endTokenIds });
  const model: ServedModel = {
    id,
    aliases,
    client,
    promptScorer: new ScoreMemory(client),
    tokenizer,
    grammars,
    created: Math.floor(Date.now() / 1000),
    generationDefaults,
    templateDefaults: settings.defaultChatTemplateKwargs ?? {},
    ...parserOf("toolSyntax", settings.toolCallParser),
    ...parserOf("reasoning", settings.reasoningParser),
  };
  return { model, close: () => grammars.close() };
}

/** A field of the served model, left out where the chat template is to tell. */
function parserOf<K extends string, N extends string>(
  field: K,
  name: N | "auto" | "none",
): { readonly [key in K]?: Exclude<N, "auto" | "none"> | null } {
  if (name === "auto") return {};
  return { [field]: name === "none" ? null : name } as { [key in K]: Exclude<N, "auto" | "none"> | null };
}

function logStart(logger: Logger, client: EngineClient): void {
  const { info } = client;
  for (const note of info.notes) logger.info(note);
  const { weights, arena } = info.memory;
  logger.info(
    `In use now: weights ${formatBytes(weights)}, activations ${formatBytes(arena)}; the plan's activations are the most that a step can take`,
  );
  logger.info(
    `${info.architecture} on ${kernelsText(info)}, weights ${info.dtype}, activations ${info.activations}, attention ${info.attentionDtype}; loaded in ${formatDuration(info.loadTimesMs["total"] ?? 0)}`,
  );
}
