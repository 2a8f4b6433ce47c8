import path from "node:path";
import type { Command } from "commander";
import { z } from "zod";
import { MillraceError } from "../../base/errors.ts";
import { formatCount, formatDuration } from "../../base/units.ts";
import { writeFileAtomically } from "../../base/write-file.ts";
import { type Component, field, resolveComponent, type Values } from "../../config/component.ts";
import { engineSettings, precisionSettings, schedulerSettings } from "../../config/engine-settings.ts";
import { integer, real } from "../../config/value-schemas.ts";
import type { EngineOptions } from "../../engine/engine-options.ts";
import { type Selection, selectRequests } from "../../engine/simulator/select-requests.ts";
import { simulate } from "../../engine/simulator/simulate.ts";
import type { GoodputTargets } from "../../engine/simulator/simulation-record.ts";
import { parseTrace } from "../../protocol/request-trace.ts";
import { type CommandHelp, createCommand } from "../create-command.ts";
import { engineOptionsOf } from "../engine-options.ts";
import { readText } from "../read-text.ts";
import { addSettings, readSettings } from "../settings.ts";
import {
  type Configuration,
  configurationSettings,
  contextOf,
  readConfigurations,
  simulationSettingsOf,
} from "../simulation-settings.ts";
import { costLines, type NamedResult, simulationTable } from "../simulation-table.ts";
import { readStepCosts, type StepCostsFile } from "../step-costs-file.ts";
import { blindSpots, type ServerSizes, stepCostsFromBench } from "../step-costs-from-bench.ts";
import { stepCostsFromEngine } from "../step-costs-from-engine.ts";
import { printLine, printNote } from "../terminal.ts";

const targetNames = { ttft: "ttftMs", tpot: "tpotMs", e2e: "e2eMs" } as const;

/** "ttft:1000,tpot:100" as bounds in milliseconds. */
const goodputTargets = z.string().transform((text, context): GoodputTargets => {
  const targets = { ttftMs: Infinity, tpotMs: Infinity, e2eMs: Infinity };
  for (const part of text.split(",")) {
    const [, name, value] = /^\s*(ttft|tpot|e2e):(\d+(?:\.\d+)?)\s*$/.exec(part) ?? [];
    if (name === undefined) {
      const message = "it takes ttft, tpot and e2e with milliseconds, such as ttft:1000,tpot:100";
      context.addIssue({ code: "custom", message });
      return z.NEVER;
    }
    targets[targetNames[name as keyof typeof targetNames]] = Number(value);
  }
  return targets;
});

const own = {
  config: field(
    "--config <name=flags>",
    z.array(z.string()).default([]),
    'a configuration by name, such as "small=--max-num-seqs 16"; may be repeated (default: the four of --serving)',
  ),
  goodput: field(
    "--goodput <targets>",
    goodputTargets.prefault("ttft:1000,tpot:100"),
    "what a good request keeps, in milliseconds: ttft, tpot and e2e",
  ),
  speed: field(
    "--speed <x>",
    real(0.001, 1000).default(1),
    "how much faster than in the trace requests arrive",
  ),
  duration: field(
    "--duration <seconds>",
    real(0, 1e9).optional(),
    "take only the first seconds of the trace",
  ),
  requestMaxTokens: field(
    "--request-max-tokens <n>",
    integer(1).optional(),
    "max_tokens of requests where the trace has none (default: the trace's longest output)",
  ),
  json: field("--json", z.boolean().default(false), "print JSON"),
} satisfies Component;

const costSettings = {
  costs: field("--costs <file>", z.string().optional(), "step costs that --out wrote"),
  calibrate: field(
    "--calibrate <model>",
    z.string().optional(),
    "measure the steps of this model here and now, in its own engine without a server",
  ),
  calibrateFrom: field(
    "--calibrate-from <folder>",
    z.array(z.string()).default([]),
    "find the step costs of a server in what millrace bench --out wrote of it; may be repeated. Needs the server's " +
      "--max-model-len and --num-kv-blocks",
  ),
  out: field("--out <file>", z.string().optional(), "where the step costs are written"),
  calibrationTime: field(
    "--calibration-time <seconds>",
    integer(1, 3600).default(20),
    "about how long --calibrate measures; large shapes are left out where they take longer",
  ),
} satisfies Component;

const enginePrecision = {
  ...precisionSettings,
  kvCacheDtype: schedulerSettings.kvCacheDtype,
} satisfies Component;

const help: CommandHelp = {
  summary: "Foresee latency and goodput of a trace under several configurations",
  details: `
Replays a trace through the engine's own admission, scheduler and KV cache on a simulated clock: an hour of traffic takes
seconds. A trace is CSV with TIMESTAMP, ContextTokens and GeneratedTokens (Azure's), or JSON lines with timestamp,
input_length, output_length and hash_ids (Mooncake's), and max_tokens, priority, tenant and deadline_ms where wanted.
Requests that do not fit into the smallest configuration are left out of all, and counted.
Flags under "Configuration" hold for every configuration; those inside --config for one.`,
  examples: [
    "millrace simulate --calibrate ./model --out costs.json",
    "millrace simulate --calibrate-from ./load --max-model-len 2k --num-kv-blocks 8192 --out costs.json",
    "millrace simulate trace.csv --costs costs.json",
    "millrace simulate trace.csv --costs costs.json --speed 4 --kv-cache-memory-bytes 64MiB",
    'millrace simulate trace.csv --costs costs.json --config "now=" --config "small steps=--max-num-batched-tokens 256"',
  ],
};

export function simulateCommand(): Command {
  const command = createCommand("simulate", help).argument(
    "[trace]",
    "a file of requests with arrival times and lengths",
  );
  addSettings(command, own);
  addSettings(command, costSettings, "Step costs:");
  addSettings(command, configurationSettings, "Configuration:");
  addSettings(command, enginePrecision, "Calibrated model:");
  return command.action(runSimulate);
}

async function runSimulate(trace: string | undefined, _options: unknown, command: Command): Promise<void> {
  const settings = readSettings(command, own);
  const costs = readSettings(command, costSettings);
  checkSources(trace, costs);
  // Everything that can be refused is, before a model is loaded.
  const configurations = readConfigurations(command, settings.config);
  const requests = trace === undefined ? null : parseTrace(readText(trace), path.basename(trace));
  const file = await costsOf(command, costs);
  if (requests === null) {
    printLine(settings.json ? JSON.stringify(file, null, 2) : costLines(file).join("\n"));
    return;
  }
  const selection = selectRequests(requests, {
    maxTokens: Math.min(...configurations.map((configuration) => contextOf(configuration, file))),
    durationMs: (settings.duration ?? Infinity) * 1000,
    speed: settings.speed,
    askedTokens: settings.requestMaxTokens ?? null,
  });
  checkSelection(selection);
  const startMs = performance.now();
  const results = configurations.map((configuration) => ({
    name: configuration.name,
    result: simulate(selection.requests, simulationSettingsOf(configuration, file, settings.goodput)),
  }));
  if (settings.json) printJson({ selection, configurations, results, file });
  else printResults(selection, results, file, performance.now() - startMs);
}

/** Mean residual above which costs are not to be trusted. */
const maxMeanError = 0.25;

type CostSettings = Values<typeof costSettings>;

function checkSources(
  trace: string | undefined,
  { costs, calibrate, calibrateFrom, out }: CostSettings,
): void {
  const sources = [
    ...(costs === undefined ? [] : ["--costs"]),
    ...(calibrate === undefined ? [] : ["--calibrate"]),
    ...(calibrateFrom.length === 0 ? [] : ["--calibrate-from"]),
  ];
  const refuse = (message: string, param: string): never => {
    throw new MillraceError("invalid_option", message, { param });
  };
  if (sources.length !== 1) {
    const seen = sources.length === 0 ? "None of them is given" : `Here are ${sources.join(" and ")}`;
    refuse(
      "A simulation needs the step costs of one model: --costs FILE, --calibrate MODEL or --calibrate-from FOLDER. " +
        `${seen}. Give one.`,
      "--costs",
    );
  }
  if (costs === undefined) return;
  if (out !== undefined)
    refuse("--out is given with --costs, which is such a file already. Leave one of them out.", "--out");
  if (trace === undefined) refuse("There is no trace to simulate with --costs. Give a file.", "trace");
}

async function costsOf(command: Command, settings: CostSettings): Promise<StepCostsFile> {
  if (settings.costs !== undefined) return readStepCosts(settings.costs);
  const file = await measureCosts(command, settings);
  if (file.meanError > maxMeanError)
    printNote(
      `The steps are ${Math.round(100 * file.meanError)} % off their costs on average: something else used the machine. Measure again.`,
    );
  if (settings.out !== undefined) writeFileAtomically(settings.out, `${JSON.stringify(file, null, 2)}\n`);
  return file;
}

async function measureCosts(
  command: Command,
  { calibrate: model, calibrateFrom: folders, calibrationTime }: CostSettings,
): Promise<StepCostsFile> {
  if (model === undefined) {
    const file = stepCostsFromBench(folders, serverSizes(command));
    for (const spot of blindSpots(file)) printNote(spot);
    return file;
  }
  printNote(`Measuring steps of ${model} (about ${calibrationTime} s at most)`);
  const options = calibrationOptions(model, readSettings(command, enginePrecision));
  return stepCostsFromEngine(model, options, calibrationTime * 1000);
}

/** What the records of a load test do not tell of the server. */
function serverSizes(command: Command): ServerSizes {
  const { maxModelLen, numKvBlocks, maxNumBatchedTokens } = readSettings(command, configurationSettings);
  if (typeof maxModelLen === "number" && numKvBlocks !== undefined)
    return { maxModelLen, numKvBlocks, maxNumBatchedTokens };
  const [missing, place] =
    typeof maxModelLen === "number"
      ? ["--num-kv-blocks", "num_gpu_blocks of vllm:cache_config_info at its /metrics"]
      : ["--max-model-len", "max_model_len at its /v1/models"];
  throw new MillraceError(
    "invalid_option",
    `--calibrate-from is given without ${missing}, a number that the records of a load test do not hold. Give what the ` +
      `server had: ${place}.`,
    { param: missing },
  );
}

/** The defaults of `serve`, so that the KV cache found is the one that serve would take. */
function calibrationOptions(model: string, precision: Values<typeof enginePrecision>): EngineOptions {
  return engineOptionsOf(model, { ...resolveComponent(engineSettings, {}, {}), ...precision });
}

function checkSelection({ requests, numTooLong, numEmpty }: Selection): void {
  if (requests.length > 0) return;
  throw new MillraceError(
    "invalid_data_file",
    `No request of the trace can be simulated: ${formatCount(numTooLong)} are too long for the smallest configuration and ` +
      `${formatCount(numEmpty)} have no prompt or no output. Give a larger --max-model-len or KV cache, or another trace.`,
    { param: "trace" },
  );
}

interface Outcome {
  readonly selection: Selection;
  readonly configurations: readonly Configuration[];
  readonly results: readonly NamedResult[];
  readonly file: StepCostsFile;
}

function printJson({ selection, configurations, results, file }: Outcome): void {
  const { steps: _steps, ...costs } = file;
  const record = {
    kind: "simulation",
    version: 1,
    costs,
    trace: {
      numRequests: selection.requests.length,
      numTooLong: selection.numTooLong,
      numEmpty: selection.numEmpty,
    },
    configurations: results.map(({ name, result }, index) => {
      const { tenantWeight, ...settings } = configurations[index]!.settings;
      const weights = tenantWeight === undefined ? {} : { tenantWeight: Object.fromEntries(tenantWeight) };
      return { name, settings: { ...settings, ...weights }, result };
    }),
  };
  printLine(JSON.stringify(record, null, 2));
}

function printResults(
  { requests, numTooLong, numEmpty }: Selection,
  results: readonly NamedResult[],
  file: StepCostsFile,
  timeMs: number,
): void {
  const leftOut = [
    ...(numTooLong === 0 ? [] : [`${formatCount(numTooLong)} too long for the smallest configuration`]),
    ...(numEmpty === 0 ? [] : [`${formatCount(numEmpty)} without prompt or output`]),
  ];
  printLine(
    `${formatCount(requests.length)} requests over ${formatDuration(requests.at(-1)!.arrivalMs)}` +
      `${leftOut.length === 0 ? "" : `; left out: ${leftOut.join(", ")}`}. Costs of ${file.model}: ${file.measured}.`,
  );
  printLine("");
  printLine(simulationTable(results));
  printNote(`\nSimulated in ${formatDuration(timeMs)}.`);
}
