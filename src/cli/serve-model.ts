import { MillraceError } from "../base/errors.ts";
import type { Logger } from "../base/logger.ts";
import { formatBytes, formatDuration } from "../base/units.ts";
import type { StartingEngine } from "../engine/worker-client.ts";
import { modelNameOf } from "../formats/model-name.ts";
import { GrammarPool } from "../grammar/grammar-pool.ts";
import type { EngineClient } from "../protocol/engine-client.ts";
import { adapterModel } from "../server/adapters/adapter-model.ts";
import type { ServedModel } from "../server/served-model.ts";
import { type RunningServer, startServer } from "../server/start-server.ts";
import { ScoreMemory } from "../text/score-memory.ts";
import { generationDefaultsOf } from "./generation-defaults.ts";
import { createLogger } from "./log.ts";
import { openModel, openTokenizer } from "./model-source.ts";
import { accessOptionsOf } from "./serve-access.ts";
import type { ServeSettings } from "./serve-settings.ts";
import { isSupervised } from "./supervised.ts";

/** Begins the line that names the address; scripts wait for it. */
const listeningLine = "Listening on";

export interface Serving {
  readonly modelPath: string;
  /** Of the model at that path; it is closed here. */
  readonly engine: StartingEngine;
  readonly settings: ServeSettings;
}

/** Listens, makes the tokenizer while the engine loads, and serves both until a signal comes. */
export async function serveModel(serving: Serving): Promise<void> {
  const { engine, settings } = serving;
  const { shutdownTimeout } = settings.server;
  const logger = await createLogger(settings.log.logFormat, settings.log.logLevel);
  for (const note of settings.notes) logger.warn(note);
  try {
    const server = await listen(serving, logger);
    try {
      const grammars = await makeReady(server, serving, logger);
      await Promise.race([untilStopped(server, shutdownTimeout * 1000, logger), untilDead(engine)]);
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
  const { host, port, strict, maxBodySize, devEndpoints, clientTimeout } = settings.server;
  const { accessLog, enableLogRequests, maxLogLen } = settings.log;
  const access = await accessOptionsOf(settings.access, host, settings.engine.schedulingPolicy);
  const plan = await engine.plan;
  const server = await startServer({
    ...access,
    host,
    port,
    isStrict: strict,
    maxBodyBytes: maxBodySize,
    hasDevEndpoints: devEndpoints,
    clientTimeoutMs: clientTimeout * 1000,
    logsAccess: accessLog,
    logsPrompts: enableLogRequests ? maxLogLen : 0,
    logger,
  });
  logger.info(`${listeningLine} ${server.url}`);
  for (const line of plan) logger.info(line);
  return server;
}

/** Opens the server for requests. The pool that comes back has threads as soon as a request asks for a grammar. */
async function makeReady(server: RunningServer, serving: Serving, logger: Logger): Promise<GrammarPool> {
  const { modelPath, engine } = serving;
  const settings = serving.settings.server;
  const checkpoint = openModel(modelPath);
  const { tokenizer, source } = openTokenizer(checkpoint, serving.settings.source);
  checkpoint.close();
  const client = await engine.client;
  logStart(logger, client);
  const ownConfig = settings.generationConfig === "none" ? {} : (source.generationConfig ?? {});
  const generationDefaults = generationDefaultsOf(ownConfig, settings.overrideGenerationConfig ?? {});
  if (Object.keys(generationDefaults).length > 0) {
    logger.info(
      `Sampling where a request says nothing: ${JSON.stringify(generationDefaults)} (--generation-config none leaves out the model's own)`,
    );
  }
  const [id = modelNameOf(modelPath), ...aliases] = settings.servedModelName;
  const created = Math.floor(Date.now() / 1000);
  const promptScorer = new ScoreMemory(client);
  const { vocabSize, eosTokenIds: endTokenIds } = client.info;
  const grammars = new GrammarPool({ tokenizer, vocabSize, endTokenIds });
  const chat = {
    ...parserOf("toolSyntax", settings.toolCallParser),
    ...parserOf("reasoning", settings.reasoningParser),
    templateDefaults: settings.defaultChatTemplateKwargs ?? {},
  };
  const own = { id, aliases, client, promptScorer, tokenizer, grammars, created, generationDefaults };
  const model: ServedModel = { ...own, ...chat };
  const adapters = (client.adapters?.initial ?? []).map(({ name }) => adapterModel(model, name));
  server.setReady([model, ...adapters]);
  logger.info(`Ready: ${[model, ...adapters].map((served) => served.id).join(", ")}`);
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

/** Rejects when the engine's thread ends by itself and a parent stands by to start all again; else never ends. */
function untilDead({ exited }: StartingEngine): Promise<never> {
  return new Promise((_, reject) => {
    if (!isSupervised()) return;
    void exited.then(() =>
      reject(
        new MillraceError(
          "engine_failed",
          "The engine's thread died, so the server ends to be started again.",
        ),
      ),
    );
  });
}

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
