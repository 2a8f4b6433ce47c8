import { type Command, Option } from "commander";
import { adapterSettings } from "../config/adapter-settings.ts";
import {
  type Component,
  findValue,
  flagName,
  resolveSources,
  type Sources,
  type Values,
} from "../config/component.ts";
import { readConfig } from "../config/config-file.ts";
import { engineSettings, sourceSettings } from "../config/engine-settings.ts";
import { accessSettings, logSettings, serverSettings } from "../config/server-settings.ts";
import { unknownVariables, variablePrefix } from "./environment-names.ts";
import { readYaml } from "./read-yaml.ts";
import { addEngineSettings, addSettings, readGiven } from "./settings.ts";
import { addVllmFlags } from "./vllm-options.ts";

export const configHelp = "YAML file of settings by the names of flags; a flag or a variable beats it";

const components = {
  server: serverSettings,
  access: accessSettings,
  log: logSettings,
  engine: engineSettings,
  adapters: adapterSettings,
  source: sourceSettings,
} as const satisfies Readonly<Record<string, Component>>;

/** All settings of `serve`. */
export const serveComponents: readonly Component[] = Object.values(components);

type Part = keyof typeof components;

/** All that `serve` is told, part by part, with lines to show about it. */
export type ServeSettings = { readonly [P in Part]: Values<(typeof components)[P]> } & {
  readonly notes: readonly string[];
};

/** One setting as it came out. */
export interface ExplainedSetting {
  readonly flag: string;
  readonly value: unknown;
  /** `flag`, the name of a variable, that of the file, or `default`. */
  readonly source: string;
}

/** What `serve` reads of its command line, its environment and --config. */
export interface ServeReader {
  read(): Promise<ServeSettings>;
  explain(): Promise<ExplainedSetting[]>;
}

/** Adds the flags of `serve` to a command, vLLM's among them. */
export function addServeSettings(command: Command): ServeReader {
  addSettings(command, serverSettings, "Server:");
  addSettings(command, accessSettings, "Access:");
  addSettings(command, logSettings, "Log:");
  command.addOption(new Option("--config <file>", configHelp));
  addEngineSettings(command);
  addSettings(command, adapterSettings, "Adapters:");
  const vllm = addVllmFlags(command);
  const sourcesOf = async (): Promise<SourcesOf> => {
    const file = await readFile(command.opts<{ readonly config?: string }>().config);
    return (component) => ({
      given: withMeant(component, vllm.means, command),
      environment: process.env,
      variablePrefix,
      file,
    });
  };
  return {
    read: async () =>
      readAll(await sourcesOf(), [...vllm.notes, ...unknownVariables(process.env, serveComponents)]),
    explain: async () => explainAll(await sourcesOf()),
  };
}

type SourcesOf = (component: Component) => Sources;

function readAll(sourcesOf: SourcesOf, notes: readonly string[]): ServeSettings {
  const read = <P extends Part>(part: P): Values<(typeof components)[P]> =>
    resolveSources<(typeof components)[P]>(components[part], sourcesOf(components[part]));
  const [server, access, log] = [read("server"), read("access"), read("log")];
  const [engine, adapters, source] = [read("engine"), read("adapters"), read("source")];
  return { server, access, log, engine, adapters, source, notes };
}

function explainAll(sourcesOf: SourcesOf): ExplainedSetting[] {
  return serveComponents.flatMap((component) => {
    const sources = sourcesOf(component);
    const values: Values<Component> = resolveSources(component, sources);
    return Object.entries(component).map(([key, setting]) => {
      const found = findValue(key, setting, sources);
      const source = found === undefined ? "default" : found.source || "flag";
      return { flag: flagName(setting.flag), value: values[key], source };
    });
  });
}

/** What the command line gave, with what vLLM's flags on it mean. */
function withMeant(
  component: Component,
  means: ReadonlyMap<string, string>,
  command: Command,
): Sources["given"] {
  const given: Record<string, unknown> = readGiven(command, component);
  for (const [key, { flag }] of Object.entries(component)) {
    const meant = means.get(flagName(flag));
    if (meant !== undefined) given[key] = meant;
  }
  return given;
}

async function readFile(name: string | undefined): Promise<Sources["file"]> {
  if (name === undefined) return undefined;
  const document = await readYaml(name, "--config");
  return { name, values: readConfig(name, document, serveComponents) };
}
