import type { Command } from "commander";
import { startEngine } from "../../engine/worker-client.ts";
import { endpoints } from "../../server/routes.ts";
import { type CommandHelp, createCommand } from "../create-command.ts";
import { adapterOptionsOf, engineOptionsOf } from "../engine-options.ts";
import { addModelArgument, resolveModel } from "../model-argument.ts";
import { addServeSettings, type ServeReader, type ServeSettings } from "../serve-settings.ts";
import { checkServedNames } from "../served-names.ts";
import { isSupervised } from "../supervised.ts";

const help: CommandHelp = {
  summary: "Serve a model over the OpenAI API",
  details: `
The port is bound at once; requests get 503 until the model is loaded. SIGTERM drains, a second signal ends at once.

Sizes take KiB, MiB, GiB, TiB or KB, MB, GB, TB; token counts take k and M (1k = 1024). Every flag has a variable, such
as MILLRACE_MAX_NUM_SEQS for --max-num-seqs. A flag beats its variable, which beats the file of --config; \`millrace config
explain\` shows what comes out. Flags of vLLM's are taken too, or refused with what to use.`,
  examples: [
    "millrace serve ./model",
    "millrace serve model.gguf --port 9000 --max-model-len 8k --log-level debug",
    "MILLRACE_API_KEY=secret millrace serve ./model --host 0.0.0.0",
    `curl http://127.0.0.1:8000/v1/completions -d '{"prompt": "Hello"}'`,
    "millrace serve ./model --config serve.yaml",
    "curl http://127.0.0.1:8000/metrics",
  ],
  notes: ["Endpoints:", ...endpoints].join("\n  "),
};

export function serveCommand(): Command {
  const command = addModelArgument(createCommand("serve", help));
  const reader = addServeSettings(command);
  return command.action((modelPath: string) => runServe(modelPath, reader));
}

async function runServe(modelPath: string, reader: ServeReader): Promise<void> {
  const settings = await reader.read();
  const adapters = adapterOptionsOf(settings.adapters);
  checkServedNames(modelPath, settings);
  if (settings.server.restart && !isSupervised()) {
    const { superviseServe } = await import("../supervise-serve.ts");
    return superviseServe();
  }
  const models = await resolveFurther(settings.server.models);
  const options = { ...engineOptionsOf(modelPath, settings.engine), adapters };
  // Most of a start is reading modules: the engine's thread reads its own while this one reads the server's.
  const engine = startEngine(options);
  const { serveModel } = await import("../serve-model.ts");
  const server = { ...settings.server, models };
  await serveModel({ modelPath, engine, options, settings: { ...settings, server } });
}

/** Hub ids among the paths of --models become paths, one after the other, as each may have to be downloaded. */
async function resolveFurther(
  models: ServeSettings["server"]["models"],
): Promise<ServeSettings["server"]["models"]> {
  const resolved = [];
  for (const { name, path } of models) resolved.push({ name, path: await resolveModel(path) });
  return resolved;
}
