import type { Logger } from "../base/logger.ts";
import { formatBytes, formatDuration } from "../base/units.ts";
import type { Values } from "../config/component.ts";
import type { sourceSettings } from "../config/engine-settings.ts";
import type { serverSettings } from "../config/server-settings.ts";
import type { StartingEngine } from "../engine/worker-client.ts";
import type { TokenizerSource } from "../formats/checkpoint.ts";
import { modelNameOf } from "../formats/model-name.ts";
import { GrammarPool } from "../grammar/grammar-pool.ts";
import type { EngineClient } from "../protocol/engine-client.ts";
import type { GenerationDefaults } from "../server/served-model.ts";
import { type RunningServer, startServer } from "../server/start-server.ts";
import { ScoreMemory } from "../text/score-memory.ts";
import { createTextLogger } from "./log.ts";
import { openModel, openTokenizer } from "./model-source.ts";
import { listeningLine } from "./server-launcher.ts";

export interface Serving {
  readonly modelPath: string;
  /** Of the model at that path; it is closed here. */
  readonly engine: StartingEngine;
  readonly settings: Values<typeof serverSettings>;
  readonly source: Values<typeof sourceSettings>;
}

/** Listens, makes the tokenizer while the engine loads, and serves both until a signal comes. */
export async function serveModel(serving: Serving): Promise<void> {
  const { engine, settings } = serving;
  const logger = createTextLogger(settings.logLevel);
  try {
    const server = await listen(serving, logger);
    try {
      const grammars = await makeReady(server, serving, logger);
      await untilStopped(server, settings.shutdownTimeout * 1000, logger);
      await grammars.close();
    } finally {
      await server.close();
    }
    await (await engine.client).close();
  } finally {
    await engine.stop();
  }
}

/** Binds the port as soon as the model is known to fit; requests get 503 until it is loaded. */
async function listen({ engine, settings }: Serving, logger: Logger): Promise<RunningServer> {
  const plan = await engine.plan;
  const server = await startServer({
    host: settings.host,
    port: settings.port,
    apiKeys: settings.apiKey === undefined ? [] : [settings.apiKey],
    isInsecure: settings.insecure,
    isStrict: settings.strict,
    maxBodyBytes: settings.maxBodySize,
    hasDevEndpoints: settings.devEndpoints,
    logger,
  });
  logger.info(`${listeningLine} ${server.url}`);
  for (const line of plan) logger.info(line);
  return server;
}

/** Opens the server for requests. The pool that comes back has threads as soon as a request asks for a grammar. */
async function makeReady(server: RunningServer, serving: Serving, logger: Logger): Promise<GrammarPool> {
  const { modelPath, engine, settings } = serving;
  const checkpoint = openModel(modelPath);
  const { tokenizer, source } = openTokenizer(checkpoint, serving.source);
  checkpoint.close();
  const client = await engine.client;
  logStart(logger, client);
  const generationDefaults = settings.generationConfig === "none" ? {} : generationDefaultsOf(source);
  if (Object.keys(generationDefaults).length > 0) {
    logger.info(
      `The model's own sampling defaults apply: ${JSON.stringify(generationDefaults)} (--generation-config none turns them off)`,
    );
  }
  const id = settings.servedModelName ?? modelNameOf(modelPath);
  const created = Math.floor(Date.now() / 1000);
  const promptScorer = new ScoreMemory(client);
  const { vocabSize, eosTokenIds: endTokenIds } = client.info;
  const grammars = new GrammarPool({ tokenizer, vocabSize, endTokenIds });
  const chat = {
    ...parserOf("toolSyntax", settings.toolCallParser),
    ...parserOf("reasoning", settings.reasoningParser),
  };
  server.setReady([{ id, client, promptScorer, tokenizer, grammars, created, generationDefaults, ...chat }]);
  logger.info(`Ready: ${id}`);
  return grammars;
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
    `${info.architecture} on ${info.backend} ${info.isa}, ${info.numThreads} threads, weights ${info.dtype}, activations ${info.activations}, attention ${info.attentionDtype}; loaded in ${formatDuration(info.loadTimesMs["total"] ?? 0)}`,
  );
}

function generationDefaultsOf(source: TokenizerSource): GenerationDefaults {
  const config = source.generationConfig ?? {};
  // Without do_sample the file asks for greedy decoding in transformers, but servers sample: only its values are taken.
  const entries = Object.entries(generationFields).flatMap(([key, name]): [string, number][] => {
    const value = config[key];
    return typeof value === "number" && Number.isFinite(value) ? [[name, value]] : [];
  });
  return Object.fromEntries(entries);
}

/** Fields of generation_config.json that servers read. */
const generationFields: Readonly<Record<string, keyof GenerationDefaults>> = {
  temperature: "temperature",
  top_p: "topP",
  top_k: "topK",
  min_p: "minP",
  repetition_penalty: "repetitionPenalty",
};

/** Resolves when open requests are finished after a signal, or after a second one. */
function untilStopped(server: RunningServer, timeoutMs: number, logger: Logger): Promise<void> {
  return new Promise((resolve, reject) => {
    let isStopping = false;
    const stop = (signal: NodeJS.Signals): void => {
      if (isStopping) {
        logger.warn(`${signal} again: ending open requests`);
        resolve();
        return;
      }
      isStopping = true;
      logger.info(`${signal}: no new requests; open ones get ${timeoutMs / 1000} s`);
      server.drain(timeoutMs).then(resolve, reject);
    };
    process.on("SIGTERM", stop);
    process.on("SIGINT", stop);
  });
}
