import { Command, CommanderError } from "commander";
import { isMillraceError, MillraceError } from "../base/errors.ts";
import { formatCount } from "../base/units.ts";
import { type Component, field, resolveComponent, type Values } from "../config/component.ts";
import { schedulerSettings } from "../config/engine-settings.ts";
import { integer, oneOf, real } from "../config/value-schemas.ts";
import type { SimulationSettings } from "../engine/simulator/simulate.ts";
import type { GoodputTargets } from "../engine/simulator/simulation-record.ts";
import { defaultVictims } from "../engine/victim-policy.ts";
import { addSettings, readGiven } from "./settings.ts";
import type { StepCostsFile } from "./step-costs-file.ts";

/** What may differ between the configurations of a simulation: flags of `serve`, and how requests share the machine. */
export const configurationSettings = {
  serving: field(
    "--serving <name>",
    oneOf(["continuous", "contiguous", "dynamic", "static"]).default("continuous"),
    "continuous is what serve does; contiguous reserves KV for prompt and max_tokens in one piece; dynamic and static " +
      "run batch by batch until the longest answer ends, formed by size or timeout, or by size alone",
  ),
  batchTimeout: field(
    "--batch-timeout <ms>",
    real(0, 3_600_000).default(100),
    "how long --serving dynamic waits for a full batch",
  ),
  prefixCaching: field(
    "--prefix-caching <on|off>",
    oneOf(["on", "off"]).default("on"),
    "whether a request uses what another computed; under --serving continuous",
  ),
  numKvBlocks: field(
    "--num-kv-blocks <n>",
    integer(1).optional(),
    "blocks of the KV cache, instead of --kv-cache-memory-bytes",
  ),
  maxModelLen: schedulerSettings.maxModelLen,
  maxNumSeqs: schedulerSettings.maxNumSeqs,
  maxNumBatchedTokens: schedulerSettings.maxNumBatchedTokens,
  longPrefillTokenThreshold: schedulerSettings.longPrefillTokenThreshold,
  kvCacheMemory: schedulerSettings.kvCacheMemory,
  swapSpace: schedulerSettings.swapSpace,
  maxNumQueuedReqs: schedulerSettings.maxNumQueuedReqs,
  maxNumQueuedTokens: schedulerSettings.maxNumQueuedTokens,
  maxNumQueuedReqsPerTenant: schedulerSettings.maxNumQueuedReqsPerTenant,
  schedulingPolicy: schedulerSettings.schedulingPolicy,
  tenantWeight: schedulerSettings.tenantWeight,
  preemptionVictim: schedulerSettings.preemptionVictim,
} satisfies Component;

type ConfigurationSettings = Values<typeof configurationSettings>;

/** A named set of flags. */
export interface Configuration {
  readonly name: string;
  readonly settings: ConfigurationSettings;
}

/** Without --config: each idea beside the one before it. */
const ladder = ["continuous", "contiguous", "dynamic", "static"] as const;

/**
 * Configurations from the texts of --config ("small=--max-num-seqs 16"), over the flags of the command itself, which
 * hold for all. Errors: `invalid_option`.
 */
export function readConfigurations(command: Command, texts: readonly string[]): Configuration[] {
  const common = readGiven(command, configurationSettings);
  if (texts.length === 0) {
    const { serving: given } = common;
    const names = typeof given === "string" ? [given] : ladder;
    return names.map((serving) => ({ name: serving, settings: resolve({ ...common, serving }) }));
  }
  const configurations = texts.map((text) => readConfiguration(text, common));
  const names = configurations.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice === undefined) return configurations;
  throw new MillraceError(
    "invalid_option",
    `--config names "${twice}" twice; each name may stand once. Give one of them another name.`,
    { param: "--config" },
  );
}

function readConfiguration(text: string, common: Readonly<Record<string, unknown>>): Configuration {
  const divider = text.indexOf("=");
  const name = text.slice(0, Math.max(0, divider)).trim();
  if (name === "" || name.startsWith("-")) {
    throw new MillraceError(
      "invalid_option",
      `--config is ${JSON.stringify(text)}; it takes a name, "=" and flags, such as "small=--max-num-seqs 16". Add them.`,
      { param: "--config" },
    );
  }
  const flags = text
    .slice(divider + 1)
    .split(/\s+/)
    .filter((part) => part !== "");
  const parser = addSettings(new Command(name), configurationSettings)
    .exitOverride()
    .helpOption(false)
    .configureOutput({ writeErr: () => {} });
  try {
    parser.parse(flags, { from: "user" });
    return { name, settings: resolve({ ...common, ...readGiven(parser, configurationSettings) }) };
  } catch (error) {
    throw configurationFault(name, error);
  }
}

/** A complaint about the flags of one configuration, under its name; other errors as they are. */
function configurationFault(name: string, error: unknown): unknown {
  if (isMillraceError(error)) {
    return new MillraceError(error.code, `--config ${name}: ${error.message}`, { param: "--config" });
  }
  if (!(error instanceof CommanderError)) return error;
  const problem = error.message
    .replace(/^error: /, "")
    .split("\n")[0]!
    .replace(/\.$/, "");
  return new MillraceError(
    "invalid_option",
    `--config ${name}: ${problem}. It takes the flags that \`millrace simulate --help\` lists under "Configuration".`,
    { param: "--config", cause: error },
  );
}

function resolve(given: Readonly<Record<string, unknown>>): ConfigurationSettings {
  return resolveComponent(configurationSettings, given, process.env);
}

/** What the simulator takes, from flags and the calibrated sizes. Errors: `invalid_option`. */
export function simulationSettingsOf(
  { name, settings }: Configuration,
  costs: StepCostsFile,
  targets: GoodputTargets,
): SimulationSettings {
  const { maxNumSeqs, maxNumBatchedTokens, longPrefillTokenThreshold, schedulingPolicy } = settings;
  if (maxNumSeqs > maxNumBatchedTokens) {
    throw new MillraceError(
      "invalid_option",
      `--max-num-batched-tokens of "${name}" is ${maxNumBatchedTokens}; a step must hold one token of each of ` +
        `--max-num-seqs (${maxNumSeqs}) sequences. Raise the first or lower the second.`,
      { param: "--max-num-batched-tokens" },
    );
  }
  const victims = settings.preemptionVictim ?? defaultVictims(schedulingPolicy);
  return {
    serving: settings.serving,
    limits: { maxNumSeqs, maxNumBatchedTokens, longPrefillTokenThreshold },
    victims,
    blockSize: costs.blockSize,
    // Where it is not known, nothing is moved.
    blockBytes: costs.blockBytes ?? 1,
    numBlocks: numBlocksOf({ name, settings }, costs),
    numHostBlocks: numHostBlocksOf({ name, settings }, costs),
    isPrefixCaching: settings.prefixCaching === "on",
    batchTimeoutMs: settings.batchTimeout,
    admission: {
      schedulingPolicy,
      tenantWeights: settings.tenantWeight ?? new Map<string, number>(),
      usesPriority: schedulingPolicy === "priority" || victims === "priority",
      maxNumSeqs,
      maxNumBatchedTokens,
      maxNumQueuedRequests: settings.maxNumQueuedReqs,
      maxNumQueuedTokens: settings.maxNumQueuedTokens ?? 0,
      maxNumQueuedRequestsPerTenant: settings.maxNumQueuedReqsPerTenant ?? 0,
    },
    targets,
    costs: costs.costs,
  };
}

function numBlocksOf({ name, settings }: Configuration, costs: StepCostsFile): number {
  const { numKvBlocks, kvCacheMemory } = settings;
  if (numKvBlocks !== undefined && kvCacheMemory !== undefined) {
    throw new MillraceError(
      "invalid_option",
      `--num-kv-blocks and --kv-cache-memory-bytes of "${name}" both size the KV cache; only one of them may. Leave one out.`,
      { param: "--num-kv-blocks" },
    );
  }
  if (kvCacheMemory === undefined) return numKvBlocks ?? costs.numKvBlocks;
  const blockBytes = blockBytesOf(name, "--kv-cache-memory-bytes", costs);
  const numBlocks = Math.floor(kvCacheMemory / blockBytes);
  if (numBlocks > 0) return numBlocks;
  throw new MillraceError(
    "invalid_option",
    `--kv-cache-memory-bytes of "${name}" is ${formatCount(kvCacheMemory)} bytes; a KV block of this model takes ` +
      `${formatCount(blockBytes)}. Give more.`,
    { param: "--kv-cache-memory-bytes" },
  );
}

function numHostBlocksOf({ name, settings }: Configuration, costs: StepCostsFile): number {
  const { swapSpace = 0 } = settings;
  return swapSpace === 0 ? 0 : Math.floor(swapSpace / blockBytesOf(name, "--swap-space", costs));
}

function blockBytesOf(name: string, flag: string, { blockBytes }: StepCostsFile): number {
  if (blockBytes !== null) return blockBytes;
  throw new MillraceError(
    "invalid_option",
    `${flag} of "${name}" is given in bytes, but step costs from a load test do not say how many a KV block takes. ` +
      "Give --num-kv-blocks instead, or costs from --calibrate.",
    { param: flag },
  );
}

/** Longest request that a configuration can hold, in tokens. Errors: `invalid_option` beyond the model's context. */
export function contextOf(configuration: Configuration, costs: StepCostsFile): number {
  const asked = configuration.settings.maxModelLen;
  const maxModelLen = typeof asked === "number" ? asked : costs.maxModelLen;
  if (maxModelLen > costs.maxModelLen) {
    throw new MillraceError(
      "invalid_option",
      `--max-model-len of "${configuration.name}" is ${formatCount(maxModelLen)}; the calibrated model takes at most ` +
        `${formatCount(costs.maxModelLen)} tokens. Give that or less.`,
      { param: "--max-model-len" },
    );
  }
  return Math.min(maxModelLen, numBlocksOf(configuration, costs) * costs.blockSize);
}
