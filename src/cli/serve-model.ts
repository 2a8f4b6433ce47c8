import { MillraceError } from "../base/errors.ts";
import type { Logger } from "../base/logger.ts";
import type { EngineOptions } from "../engine/engine-options.ts";
import type { StartingEngine } from "../engine/worker-client.ts";
import { adapterModel } from "../server/adapters/adapter-model.ts";
import type { ServedModel } from "../server/served-model.ts";
import { type RunningServer, startServer } from "../server/start-server.ts";
import { createLogger } from "./log.ts";
import { EnginePool } from "./model-pool.ts";
import { accessOptionsOf } from "./serve-access.ts";
import type { ServeSettings } from "./serve-settings.ts";
import { namesOfFirst } from "./served-names.ts";
import { isSupervised, portToBind, tellPort } from "./supervised.ts";

/** Begins the line that names the address; scripts wait for it. */
const listeningLine = "Listening on";

export interface Serving {
  readonly modelPath: string;
  /** Of the model at that path; it is closed here. */
  readonly engine: StartingEngine;
  /** What it was started with. */
  readonly options: EngineOptions;
  readonly settings: ServeSettings;
}

/** How long requests get to tell their clients that an engine died. */
const deathGraceMs = 1000;

/** Listens, makes the tokenizer while the engine loads, and serves both until a signal comes. */
export async function serveModel(serving: Serving): Promise<void> {
  const { engine, settings } = serving;
  const { shutdownTimeout } = settings.server;
  const logger = await createLogger(settings.log.logFormat, settings.log.logLevel);
  for (const note of settings.notes) logger.warn(note);
  const engines = new EnginePool(settings, logger, engineDied);
  try {
    const server = await listen(serving, logger);
    try {
      const names = await makeReady(server, engines, serving);
      const ends = [untilStopped(server, shutdownTimeout * 1000, logger)];
      // Who waits for this line may send a signal at once.
      logger.info(`Ready: ${names}`);
      await Promise.race(isSupervised() ? [...ends, engines.died] : ends);
    } catch (error) {
      // Open requests hear of the engine's end from the engine, not from the server that ends after it.
      await server.drain(deathGraceMs);
      throw error;
    } finally {
      await server.close();
    }
  } finally {
    // Also where a later model could not be loaded: threads of the earlier ones would keep the process alive.
    await engines.close();
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
    port: portToBind(port),
    isStrict: strict,
    maxBodyBytes: maxBodySize,
    hasDevEndpoints: devEndpoints,
    clientTimeoutMs: clientTimeout * 1000,
    logsAccess: accessLog,
    logsPrompts: enableLogRequests ? maxLogLen : 0,
    logger,
  });
  tellPort(server.port);
  logger.info(`${listeningLine} ${server.url}`);
  for (const line of plan) logger.info(line);
  return server;
}

/** Loads all models, one after the other, and opens the server for requests. */
async function makeReady(server: RunningServer, engines: EnginePool, serving: Serving): Promise<string> {
  const { modelPath, engine, options, settings } = serving;
  const [id, ...aliases] = namesOfFirst(modelPath, settings.server.servedModelName);
  const source = settings.source;
  const { model } = await engines.open({ id, aliases, modelPath, source, options, starting: engine });
  const adapters = (model.client.adapters?.initial ?? []).map(({ name }) => adapterModel(model, name));
  const further: ServedModel[] = [];
  for (const { name, path } of settings.server.models) further.push(await engines.pool.open(name, path));
  const models = [model, ...adapters, ...further];
  server.setReady(models, engines.pool);
  return models.map((served) => served.id).join(", ");
}

/** Why the server ends where a parent stands by to start all again. */
function engineDied(): MillraceError {
  return new MillraceError(
    "engine_failed",
    "The engine's thread died, so the server ends to be started again.",
  );
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
