import path from "node:path";
import type { Command } from "commander";
import { parse as parseYaml, stringify } from "yaml";
import { z } from "zod";
import { MillraceError, messageOf } from "../base/errors.ts";
import { writeFileAtomically } from "../base/write-file.ts";
import { consoleDialects } from "../bench/dialects/load-exports.ts";
import { type Component, field, flagName, resolveSources, type Values } from "../config/component.ts";
import { type FileValues, readConfig } from "../config/config-file.ts";
import { integer, integerList, oneOf, rateList, real, textList } from "../config/value-schemas.ts";
import { presetNames, presets, useCaseNames, useCases } from "../flow/presets.ts";
import { apiKeyField } from "./api-key.ts";
import { readText } from "./read-text.ts";
import { readGiven } from "./settings.ts";
import { taskSettings } from "./task-choice.ts";

/** Nothing in place of a list. */
function orNone<T>(list: z.ZodType<T[], string>): z.ZodType<T[], unknown> {
  return z.string().transform((text, context) => {
    if (text === "none" || text === "") return [];
    const { data, error } = list.safeParse(text);
    if (data !== undefined) return data;
    context.addIssue({ code: "custom", message: `${error!.issues[0]!.message}; or none` });
    return z.NEVER;
  });
}

/** A flow without any is asked for by name, so that a variable that is empty by mistake leaves nothing out. */
const schemeList: z.ZodType<string[], string> = textList.refine((names) => names.length > 0, {
  message: "it takes schemes, separated by commas, or bf16 for the model as it is alone",
});

export const choiceSettings = {
  preset: field(
    "--preset <name>",
    oneOf(presetNames).default("quick"),
    "how long and how hard it is measured; every other flag overrides what it says",
  ),
  useCase: field("--use-case <name>", oneOf(useCaseNames).optional(), "lengths and bounds of a use"),
} satisfies Component;

export const candidateSettings = {
  schemes: field(
    "--schemes <list>",
    schemeList.prefault("w8a8"),
    "what is made of the model and measured beside it: w8a8,w4a8-g32; bf16 is the model as it is, which is always there",
  ),
  budget: field(
    "--budget <limits>",
    z.string().optional(),
    'also the smallest form that keeps within limits such as "kl<=0.05" or "size<=95MB", as `millrace quantize --budget` finds it; needs --text',
  ),
  text: field("--text <file>", z.string().optional(), "text that a budget measures quality on"),
  dtype: field(
    "--dtype <type>",
    oneOf(["auto", "bfloat16", "float16", "float32"]).default("auto"),
    "round the weights to this type first; needed when the model already holds integers",
  ),
  engine: field(
    "--engine <engine>",
    z.array(z.string()).default(["millrace"]),
    'what serves: millrace, vllm, llama.cpp or sglang, with =PROGRAM and flags behind it; command:"… {model} {port} …"; or an address (may be repeated)',
  ),
  readyTimeout: field(
    "--ready-timeout <seconds>",
    integer(1, 86_400).default(600),
    "how long a server may take to be ready",
  ),
  pricePerHour: field(
    "--price-per-hour <n>",
    real(0, 1e9).optional(),
    "what an hour of the machine costs, in any currency, for the cost of tokens",
  ),
  minRecovery: field(
    "--min-recovery <share>",
    real(0, 1).default(0.99),
    "the least share of the quality that a recommended scheme keeps",
  ),
} satisfies Component;

/** The defaults are those of the preset that is taken where none is named, which the help page shows. */
export const flowLoadSettings = {
  concurrency: field(
    "--concurrency <list>",
    orNone(integerList).prefault("1,4,16"),
    "requests in flight, one level each; or none",
  ),
  atOnce: field(
    "--at-once <list>",
    orNone(integerList).prefault("none"),
    "requests sent all together, one level each; or none",
  ),
  rates: field(
    "--rates <list>",
    orNone(rateList).prefault("none"),
    "requests per second at even gaps, one level each; or none",
  ),
  sweep: field(
    "--sweep <n>",
    integer(0, 100).default(0),
    "so many rates, evenly from what one user at a time reaches to what all at once reach; needs --concurrency 1 and --at-once",
  ),
  requestsPerSeat: field(
    "--requests-per-seat <n>",
    integer(1).default(2),
    "requests of a level = this × concurrency, at least 8",
  ),
  minSeconds: field(
    "--min-seconds <n>",
    integer(0, 86_400).default(2),
    "a level goes on with further requests until it is so old",
  ),
  requestTimeout: field(
    "--request-timeout <seconds>",
    integer(0, 86_400).default(600),
    "how long an answer, or its next part, may take; 0 for as long as it likes",
  ),
  rounds: field(
    "--rounds <n>",
    integer(1, 100).default(3),
    "how often each is started, loaded and stopped, every second time in reverse order",
  ),
  inputTokens: field("--input-tokens <n>", integer(1).default(128), "prompt length"),
  outputTokens: field(
    "--output-tokens <n>",
    integer(1).default(64),
    "tokens to generate; the end token is ignored",
  ),
  console: field(
    "--console <dialect>",
    oneOf(["none", ...consoleDialects]).default("none"),
    "also print each load test as vllm bench serve or GuideLLM prints it",
  ),
  slo: field(
    "--slo <bounds>",
    z.string().optional(),
    "bounds that a load has to keep, such as ttft_p90<=500ms,tpot_p90<=50ms",
  ),
} satisfies Component;

/** What is of a single run: a file that describes a flow does not hold it. */
export const flowRunSettings = {
  watch: field("--watch", z.boolean().default(false), "show the figures on a local page while they come"),
  config: field(
    "--config <file>",
    z.string().optional(),
    "a YAML file with the model and flags by name, all but those of this group",
  ),
  apiKey: apiKeyField("bearer token for the servers of --engine that want one"),
  out: field("--out <folder>", z.string().optional(), "folder of the results (default: out/MODEL)"),
} satisfies Component;

const components = [choiceSettings, candidateSettings, taskSettings, flowLoadSettings] as const;

export interface FlowSettings {
  readonly choice: Values<typeof choiceSettings>;
  readonly candidates: Values<typeof candidateSettings>;
  readonly tasks: Values<typeof taskSettings>;
  readonly load: Values<typeof flowLoadSettings>;
}

/** A flow as a file describes it. */
interface FlowFile {
  readonly name: string;
  readonly model: string | undefined;
  readonly values: FileValues;
}

/**
 * Settings of a flow: flag, then environment, then the file, then the use case, then the preset, then the default.
 * Throws `invalid_option`.
 */
export function readFlowSettings(command: Command, file: FlowFile | null): FlowSettings {
  const read = <C extends Component>(component: C, under: FileValues): Values<C> =>
    resolveSources(component, {
      given: readGiven(command, component),
      environment: process.env,
      file: { name: file?.name ?? "the preset", values: { ...under, ...file?.values } },
    });
  const choice = read(choiceSettings, {});
  const useCase = choice.useCase === undefined ? {} : useCases[choice.useCase];
  const under: FileValues = { ...presets[choice.preset], ...useCase };
  return {
    choice,
    candidates: read(candidateSettings, under),
    tasks: read(taskSettings, under),
    load: read(flowLoadSettings, under),
  };
}

/** Reads a YAML file of a flow: `model`, and flags by their names. Throws `file_not_found`, `invalid_option`. */
export function readFlowFile(file: string): FlowFile {
  const name = path.basename(file);
  const document = parseFile(file);
  if (typeof document !== "object" || document === null || Array.isArray(document)) {
    return { name, model: undefined, values: readConfig(name, document, components, [flowRunSettings]) };
  }
  const { model, ...settings } = document as Record<string, unknown>;
  if (model !== undefined && typeof model !== "string") {
    throw new MillraceError(
      "invalid_option",
      `In ${name}, model is ${JSON.stringify(model)}; it takes a folder, a GGUF file or a name on the hub. Correct it.`,
    );
  }
  const place = model === undefined ? undefined : path.resolve(path.dirname(file), model);
  return { name, model: place, values: readConfig(name, settings, components, [flowRunSettings]) };
}

function parseFile(file: string): unknown {
  const text = readText(file);
  try {
    return parseYaml(text);
  } catch (error) {
    const [reason] = messageOf(error).split(/:?\n/);
    throw new MillraceError("invalid_option", `${file} cannot be read as YAML: ${reason}. Correct it.`, {
      cause: error,
    });
  }
}

export const flowFileName = "flow.yaml";

/** Writes what a flow was asked for, so that `millrace flow --config` or `flow rerun` does the same. */
export function writeFlowFile(folder: string, model: string, settings: FlowSettings): void {
  const entries = components.flatMap((component, index) => {
    const values = Object.values(settings)[index] as Readonly<Record<string, unknown>>;
    return Object.entries(component).flatMap(([key, setting]): [string, unknown][] => {
      const value = values[key];
      if (value === undefined) return [];
      return [[flagName((setting as { flag: string }).flag).slice(2), isEmptyList(value) ? "none" : value]];
    });
  });
  const text = stringify({ model, ...Object.fromEntries(entries) });
  const hint = `# millrace flow --config ${flowFileName} --out FOLDER, or millrace flow rerun with the folder of this file`;
  writeFileAtomically(path.join(folder, flowFileName), `${hint}\n${text}`);
}

function isEmptyList(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}
