import { readdirSync, statSync } from "node:fs";
import path from "node:path";
import { MillraceError } from "../../base/errors.ts";
import { packagePath } from "../../base/package-folder.ts";
import { endpointUrlOf } from "../../client/endpoint.ts";
import { type EndpointLauncher, LaunchError } from "../../protocol/endpoint-launcher.ts";
import type { ServedSide } from "../flow-plan.ts";
import { type EngineCommand, EngineProcess, type LaunchOptions } from "./engine-process.ts";
import { commandIdOf, programIdOf } from "./program-id.ts";
import { RunningEndpoint } from "./running-endpoint.ts";
import { splitWords } from "./split-words.ts";

/** `llama.cpp=/opt/llama-server -t 2`: whose command line it is, the program where it is not the usual one, more flags. */
interface EngineChoice {
  readonly name: string;
  readonly program: string | null;
  readonly flags: readonly string[];
}

type Recipe = (side: ServedSide, choice: EngineChoice) => EngineCommand;

const host = "127.0.0.1";

const recipes: Readonly<Record<string, Recipe>> = {
  millrace: (side, { program, flags }) => {
    const main = program ?? packagePath("dist/cli/main.js");
    const own = [side.path, "--dtype", side.dtype, "--served-model-name", side.modelName, ...flags];
    return {
      name: "millrace",
      program: process.execPath,
      programId: programIdOf(main, process.env),
      args: (port) => [main, "serve", ...own, "--host", host, "--port", String(port)],
      flags: ["--dtype", side.dtype, ...flags].join(" "),
      takesTokenIds: true,
      hasOurKernels: program === null,
      versionArgs: [main, "--version"],
      whereItIs: "Correct the path",
      environment: ownEnvironment(),
    };
  },
  vllm: (side, choice) =>
    serverOf(
      "vllm",
      "vllm",
      choice,
      ["--version"],
      ["serve", side.path, "--served-model-name", side.modelName],
    ),
  "llama.cpp": (side, choice) =>
    serverOf(
      "llama.cpp",
      "llama-server",
      choice,
      ["--version"],
      ["-m", ggufFileOf(side.path), "--alias", side.modelName],
    ),
  sglang: (side, choice) => ({
    ...serverOf(
      "sglang",
      "python3",
      choice,
      ["-c", "import sglang; print(sglang.__version__)"],
      ["-m", "sglang.launch_server", "--model-path", side.path, "--served-model-name", side.modelName],
    ),
    isPackage: true,
  }),
};

/** Another's server: `args` name the model, and where it listens comes behind them, then a person's own flags. */
function serverOf(
  name: string,
  usualProgram: string,
  { program, flags }: EngineChoice,
  versionArgs: readonly string[],
  args: readonly string[],
): EngineCommand {
  return {
    name,
    program: program ?? usualProgram,
    programId: programIdOf(program ?? usualProgram, process.env),
    args: (port) => [...args, "--host", host, "--port", String(port), ...flags],
    flags: flags.join(" "),
    takesTokenIds: true,
    hasOurKernels: false,
    versionArgs,
    whereItIs: `Install it, or say where it is: --engine "${name}=PATH"`,
    environment: process.env,
  };
}

const commandPrefix = "command:";

/** A name for reports of what follows --engine: without program and flags. */
function engineName(engine: string): string {
  if (engine.startsWith(commandPrefix)) return path.basename(wordsOfCommand(engine)[0] ?? "");
  return isUrl(engine) ? engine : parseChoice(engine).name;
}

/** A name for each of several engines, with their flags where the name alone is another's too. */
export function engineNames(engines: readonly string[]): string[] {
  const names = engines.map(engineName);
  const areUnique = (each: readonly string[]): boolean => new Set(each).size === each.length;
  return areUnique(names) ? names : engines.map((engine) => engine.replace(commandPrefix, ""));
}

/** Refuses what is no engine, and one that is given twice. Throws `invalid_option`. */
export function checkEngines(engines: readonly string[]): void {
  for (const engine of engines) checkEngine(engine);
  const twice = engines.find((engine, index) => engines.indexOf(engine) !== index);
  if (twice !== undefined) throw wrong(`--engine names ${twice} twice. Give every engine once.`);
}

function checkEngine(engine: string): void {
  if (isUrl(engine)) {
    endpointUrlOf(engine, "--engine");
    return;
  }
  if (engine.startsWith(commandPrefix)) {
    const missing = ["{model}", "{port}"].find((place) => !engine.includes(place));
    if (missing === undefined) return;
    const why = {
      "{port}": "nobody would know where it listens",
      "{model}":
        "it would serve something else than what is measured; a server that runs already goes in by its address",
    }[missing];
    throw wrong(
      `The command ${JSON.stringify(engine.slice(commandPrefix.length))} has no ${missing}, so ${why}. Put {port} and {model} where they belong.`,
    );
  }
  const { name } = parseChoice(engine);
  if (Object.hasOwn(recipes, name)) return;
  throw wrong(
    `--engine is ${JSON.stringify(engine)}; it takes ${Object.keys(recipes).join(", ")} (with =PROGRAM and flags behind it), command:"… {model} {port} …", or an address that begins with http.`,
  );
}

/** What starts, watches and stops an engine with a model. Throws `LaunchError` where the engine cannot read the model. */
export function createEngineLauncher(side: ServedSide, options: LaunchOptions): EndpointLauncher {
  const { engine } = side;
  if (isUrl(engine)) return new RunningEndpoint(endpointUrlOf(engine, "--engine"), options);
  const logFile = path.join(side.folder, `server-${engineName(engine)}.log`);
  if (engine.startsWith(commandPrefix)) return new EngineProcess(commandOf(side, engine), logFile, options);
  const choice = parseChoice(engine);
  return new EngineProcess(recipes[choice.name]!(side, choice), logFile, options);
}

function commandOf(side: ServedSide, engine: string): EngineCommand {
  const words = wordsOfCommand(engine);
  const [program = "", ...args] = words;
  const filled = (port: number): string[] =>
    args.map((word) =>
      word
        .replaceAll("{model}", side.path)
        .replaceAll("{port}", String(port))
        .replaceAll("{name}", side.modelName),
    );
  return {
    name: path.basename(program),
    program,
    programId: commandIdOf(words, process.env),
    args: filled,
    flags: args.join(" "),
    takesTokenIds: false,
    hasOurKernels: false,
    versionArgs: null,
    whereItIs: "Correct the command",
    environment: process.env,
  };
}

/** In a file, and in quotes of a shell, the quotes around a whole command are still there. */
function wordsOfCommand(engine: string): string[] {
  const words = splitWords(engine.slice(commandPrefix.length));
  return words.length === 1 && words[0]!.includes("{port}") ? splitWords(words[0]!) : words;
}

function parseChoice(engine: string): EngineChoice {
  const [head = "", ...flags] = splitWords(engine);
  const at = head.indexOf("=");
  return at === -1
    ? { name: head, program: null, flags }
    : { name: head.slice(0, at), program: head.slice(at + 1), flags };
}

/** Whether it is a server that runs already: one model, whatever a flow makes. */
export function isUrl(engine: string): boolean {
  return /^https?:\/\//.test(engine);
}

/** llama.cpp reads one file; a folder of ours has exactly one. */
function ggufFileOf(modelPath: string): string {
  const isFolder = statSync(modelPath).isDirectory();
  const files = isFolder
    ? readdirSync(modelPath)
        .filter((name) => name.endsWith(".gguf"))
        .map((name) => path.join(modelPath, name))
    : [modelPath];
  if (files.length === 1 && files[0]!.endsWith(".gguf")) return files[0]!;
  throw new LaunchError(
    "cannot read the model",
    `llama.cpp reads one GGUF file, and ${modelPath} is none. Take a scheme of GGUF such as q4_k_m, or make the model one with millrace convert.`,
  );
}

/** What is set for other things than the flags of `serve`. */
const kept: readonly string[] = ["MILLRACE_ISA"];

/** The client here has no key: what a person set for servers stays out. */
function ownEnvironment(): NodeJS.ProcessEnv {
  const entries = Object.entries(process.env).filter(
    ([name]) => !name.startsWith("MILLRACE_") || kept.includes(name),
  );
  return Object.fromEntries(entries);
}

function wrong(message: string): MillraceError {
  return new MillraceError("invalid_option", message, { param: "--engine" });
}
