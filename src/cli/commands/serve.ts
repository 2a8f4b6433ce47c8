import type { Command } from "commander";
import type { Logger } from "../../base/logger.ts";
import { formatBytes, formatDuration } from "../../base/units.ts";
import type { Values } from "../../config/component.ts";
import { engineSettings, sourceSettings } from "../../config/engine-settings.ts";
import { serverSettings } from "../../config/server-settings.ts";
import { planEmbedding } from "../../engine/embedding/load-embedding-engine.ts";
import type { EngineOptions } from "../../engine/engine-options.ts";
import { planEngine } from "../../engine/engine-plan.ts";
import { openDraft } from "../../engine/speculation/load-speculation.ts";
import { startEngineWorker } from "../../engine/worker-client.ts";
import type { Checkpoint, TokenizerSource } from "../../formats/checkpoint.ts";
import { modelNameOf } from "../../formats/model-name.ts";
import { isEncoder } from "../../model/registry.ts";
import type { EngineClient } from "../../protocol/engine-client.ts";
import { endpoints } from "../../server/app.ts";
import type { GenerationDefaults } from "../../server/served-model.ts";
import { type RunningServer, startServer } from "../../server/start-server.ts";
import { ScoreMemory } from "../../text/score-memory.ts";
import type { Tokenizer } from "../../tokenizer/tokenizer.ts";
import { type CommandHelp, createCommand } from "../create-command.ts";
import { createTextLogger } from "../log.ts";
import { engineOptionsOf, openModel, openTokenizer } from "../model-source.ts";
import { addModelArgument } from "../resolve-model.ts";
import { listeningLine } from "../server-launcher.ts";
import { addEngineSettings, addSettings, readSettings } from "../settings.ts";

const help: CommandHelp = {
  summary: "Serve a model over the OpenAI API",
  details: `
The port is bound at once; requests get 503 until the model is loaded. SIGTERM drains, a second signal ends at once.

Sizes take KiB, MiB, GiB, TiB or KB, MB, GB, TB; token counts take k and M (1k = 1024). A flag beats its environment
variable.`,
  examples: [
    "millrace serve ./model",
    "millrace serve model.gguf --port 9000 --max-model-len 8k --log-level debug",
    "MILLRACE_API_KEY=secret millrace serve ./model --host 0.0.0.0",
    `curl http://127.0.0.1:8000/v1/completions -d '{"prompt": "Hello"}'`,
    "curl http://127.0.0.1:8000/metrics",
  ],
  notes: ["Endpoints:", ...endpoints].join("\n  "),
};

export function serveCommand(): Command {
  const command = addModelArgument(createCommand("serve", help));
  addSettings(command, serverSettings, "Server:");
  addEngineSettings(command);
  return command.action(runServe);
}

/** What loading will set aside, for people. */
function planLinesOf(options: EngineOptions, checkpoint: Checkpoint): readonly string[] {
  if (isEncoder(checkpoint.config.architecture)) return planEmbedding(options, checkpoint);
  const draft = openDraft(options, checkpoint);
  try {
    return planEngine(options, checkpoint, draft).lines;
  } finally {
    draft?.close();
  }
}

async function runServe(modelPath: string, _options: unknown, command: Command): Promise<void> {
  const settings = readSettings(command, serverSettings);
  const engine = readSettings(command, engineSettings);
  const tokenizerSettings = readSettings(command, sourceSettings);
  const logger = createTextLogger(settings.logLevel);
  const checkpoint = openModel(modelPath);
  const engineOptions = engineOptionsOf(modelPath, engine);
  const planLines = planLinesOf(engineOptions, checkpoint);
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
  for (const line of planLines) logger.info(line);
  const { client, tokenizer, source } = await load(engineOptions, checkpoint, tokenizerSettings).catch(
    async (error: unknown) => {
      await server.close();
      throw error;
    },
  );
  checkpoint.close();
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
  server.setReady([{ id, client, promptScorer, tokenizer, created, generationDefaults }]);
  logger.info(`Ready: ${id}`);
  await untilStopped(server, client, settings.shutdownTimeout * 1000, logger);
}

interface Loaded {
  readonly client: EngineClient;
  readonly tokenizer: Tokenizer;
  readonly source: TokenizerSource;
}

/** The engine loads in its worker while this thread makes the tokenizer. */
async function load(
  options: EngineOptions,
  checkpoint: Checkpoint,
  given: Values<typeof sourceSettings>,
): Promise<Loaded> {
  const loading = startEngineWorker(options);
  try {
    const made = openTokenizer(checkpoint, given);
    return { client: await loading, ...made };
  } catch (error) {
    const client = await loading.catch(() => null);
    await client?.close();
    throw error;
  }
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

/** Resolves when the server is closed after a signal: open requests are finished first, a second signal ends them. */
function untilStopped(
  server: RunningServer,
  client: EngineClient,
  timeoutMs: number,
  logger: Logger,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let isStopping = false;
    const finish = async (): Promise<void> => {
      await server.close();
      await client.close();
    };
    const stop = (signal: NodeJS.Signals): void => {
      if (isStopping) {
        logger.warn(`${signal} again: ending open requests`);
        finish().then(resolve, reject);
        return;
      }
      isStopping = true;
      logger.info(`${signal}: no new requests; open ones get ${timeoutMs / 1000} s`);
      server.drain(timeoutMs).then(finish).then(resolve, reject);
    };
    process.on("SIGTERM", stop);
    process.on("SIGINT", stop);
  });
}
