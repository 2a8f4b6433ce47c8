import type { Command } from "commander";
import { engineSettings, sourceSettings } from "../../config/engine-settings.ts";
import { serverSettings } from "../../config/server-settings.ts";
import { startEngine } from "../../engine/worker-client.ts";
import { endpoints } from "../../server/routes.ts";
import { type CommandHelp, createCommand } from "../create-command.ts";
import { engineOptionsOf } from "../engine-options.ts";
import { addModelArgument } from "../model-argument.ts";
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

async function runServe(modelPath: string, _options: unknown, command: Command): Promise<void> {
  const settings = readSettings(command, serverSettings);
  const options = engineOptionsOf(modelPath, readSettings(command, engineSettings));
  const source = readSettings(command, sourceSettings);
  // Most of a start is reading modules: the engine's thread reads its own while this one reads the server's.
  const engine = startEngine(options);
  const { serveModel } = await import("../serve-model.ts");
  await serveModel({ modelPath, engine, settings, source });
}
