import { Argument, type Command, Option } from "commander";
import { type CommandHelp, createCommand } from "../create-command.ts";
import { addServeSettings, type ExplainedSetting, type ServeReader } from "../serve-settings.ts";
import { formatTable, printLine } from "../terminal.ts";

const help: CommandHelp = {
  summary: "Show every setting of a server with its value and where it comes from",
  details: `
Takes the flags of \`millrace serve\` and starts nothing. A flag beats its variable, which beats the file of --config, which
beats the default.`,
  examples: [
    "millrace config explain --config serve.yaml",
    "MILLRACE_PORT=9000 millrace config explain --max-num-seqs 64 --json",
  ],
};

export function configCommand(): Command {
  const what = new Argument("<what>", "explain prints the settings").choices(["explain"]);
  const command = createCommand("config", help).addArgument(what);
  command.addOption(new Option("--json", "print JSON"));
  const reader = addServeSettings(command);
  return command.action(() => runExplain(reader, command.opts<{ readonly json?: boolean }>().json === true));
}

async function runExplain(reader: ServeReader, asJson: boolean): Promise<void> {
  const settings = (await reader.explain()).map(hideSecret);
  if (asJson) {
    printLine(JSON.stringify(settings, replaceMap, 2));
    return;
  }
  const rows = settings.map(({ flag, value, source }) => [flag, shown(value), source]);
  printLine(formatTable(["setting", "value", "from"], rows));
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
