import { existsSync } from "node:fs";
import { Argument, type Command, Option } from "commander";
import { parseModelId } from "../../hub/model-id.ts";
import { type CommandHelp, createCommand } from "../create-command.ts";
import { unknownVariables } from "../environment-names.ts";
import {
  addServeSettings,
  type ExplainedSetting,
  type ServeReader,
  serveComponents,
} from "../serve-settings.ts";
import { namesOfFirst } from "../served-names.ts";
import { formatTable, printLine, printNote } from "../terminal.ts";

const help: CommandHelp = {
  summary: "Show every setting of a server with its value and where it comes from",
  details: `
Takes what \`millrace serve\` takes and starts nothing. A flag beats its variable, which beats the file of --config, which
beats the default.`,
  examples: [
    "millrace config explain --config serve.yaml",
    "millrace config explain ./model --port 9000",
    "MILLRACE_PORT=9000 millrace config explain --max-num-seqs 64 --json",
  ],
};

export function configCommand(): Command {
  const what = new Argument("<what>", "explain prints the settings").choices(["explain"]);
  const command = createCommand("config", help).addArgument(what);
  command.argument("[model]", "as for `millrace serve`; its name is then among the settings");
  command.addOption(new Option("--json", "print JSON"));
  const reader = addServeSettings(command);
  return command.action((_what: string, modelPath?: string) =>
    runExplain(reader, modelPath, command.opts<{ readonly json?: boolean }>().json === true),
  );
}

async function runExplain(
  reader: ServeReader,
  modelPath: string | undefined,
  asJson: boolean,
): Promise<void> {
  for (const note of unknownVariables(process.env, serveComponents)) printNote(note);
  const settings = (await reader.explain()).map((setting) => hideSecret(withOwnName(setting, modelPath)));
  if (asJson) {
    printLine(JSON.stringify(settings, replaceMap, 2));
    return;
  }
  const rows = settings.map(({ flag, value, source }) => [flag, shown(value), source]);
  printLine(formatTable(["setting", "value", "from"], rows));
}

/** Where no name is given, a model has its own. */
function withOwnName(setting: ExplainedSetting, modelPath: string | undefined): ExplainedSetting {
  const isOwn = setting.flag === "--served-model-name" && setting.source === "default";
  if (!isOwn || modelPath === undefined) return setting;
  const id = existsSync(modelPath) ? null : parseModelId(modelPath);
  // Which file of a hub is meant, and so its name, is only known once it is asked.
  if (id !== null && id.file !== null) return setting;
  return { ...setting, value: id === null ? [...namesOfFirst(modelPath, [])] : [id.repo], source: "model" };
}

/** Keys are for clients, not for screens. */
function hideSecret(setting: ExplainedSetting): ExplainedSetting {
  const { flag, value } = setting;
  if (flag !== "--api-key" || !Array.isArray(value) || value.length === 0) return setting;
  return { ...setting, value: `${value.length} given, not shown` };
}

function shown(value: unknown): string {
  if (value === undefined || (Array.isArray(value) && value.length === 0)) return "-";
  return typeof value === "string" ? value : JSON.stringify(value, replaceMap);
}

function replaceMap(_key: string, value: unknown): unknown {
  return value instanceof Map ? Object.fromEntries(value) : value;
}
