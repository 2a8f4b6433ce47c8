import path from "node:path";
import { Command } from "commander";
import { z } from "zod";
import { MillraceError } from "../../base/errors.ts";
import { formatCount, formatDuration } from "../../base/units.ts";
import { writeFileAtomically } from "../../base/write-file.ts";
import { type Component, field, resolveComponent } from "../../config/component.ts";
import { engineSettings, precisionSettings, schedulerSettings } from "../../config/engine-settings.ts";
import { integer, real } from "../../config/value-schemas.ts";
import type { EngineOptions } from "../../engine/engine-options.ts";
import { type Selection, selectRequests } from "../../engine/simulator/select-requests.ts";
import { simulate } from "../../engine/simulator/simulate.ts";
import type { GoodputTargets } from "../../engine/simulator/simulation-record.ts";
import { parseTrace } from "../../engine/simulator/trace.ts";
import { engineOptionsOf, readText } from "../model-source.ts";
import { addSettings, readSettings } from "../settings.ts";
import {
  type Configuration,
  configurationSettings,
  contextOf,
  readConfigurations,
  simulationSettingsOf,
} from "../simulation-settings.ts";
import { costLines, type NamedResult, simulationTable } from "../simulation-table.ts";
import { calibrate, readStepCosts, type StepCostsFile } from "../step-costs-file.ts";
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
  costs: field("--costs <file>", z.string().optional(), "step costs from --calibrate --out"),
  calibrate: field(
    "--calibrate <model>",
    z.string().optional(),
    "measure the steps of this model here and now, in its own engine",
  ),
  out: field("--out <file>", z.string().optional(), "where --calibrate writes the costs"),
  calibrationTime: field(
    "--calibration-time <seconds>",
    integer(1, 3600).default(10),
    "about how long --calibrate measures; large shapes are left out where they take longer",
  ),
} satisfies Component;

const enginePrecision = {
  ...precisionSettings,
  kvCacheDtype: schedulerSettings.kvCacheDtype,
} satisfies Component;

const examples = `
Replays a trace through the engine's own admission, scheduler and KV cache on a simulated clock: an hour of traffic takes
seconds. A trace is CSV with TIMESTAMP, ContextTokens and GeneratedTokens (Azure's), or JSON lines with timestamp,
input_length, output_length and hash_ids (Mooncake's), and max_tokens, priority, tenant and deadline_ms where wanted.
Requests that do not fit into the smallest configuration are left out of all, and counted.
Flags under "Configuration" hold for every configuration; those inside --config for one.

Examples:
  millrace simulate --calibrate ./model --out costs.json
  millrace simulate trace.csv --costs costs.json
  millrace simulate trace.csv --costs costs.json --speed 4 --kv-cache-memory-bytes 64MiB
  millrace simulate trace.csv --costs costs.json --config "now=" --config "small steps=--max-num-batched-tokens 256"`;

export function simulateCommand(): Command {
  const command = new Command("simulate")
    .description("foresee latency and goodput of a trace under several configurations")
    .argument("[trace]", "a file of requests with arrival times and lengths")
    .addHelpText("after", examples);
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

function checkSources(
  trace: string | undefined,
  {
    costs,
    calibrate: model,
    out,
  }: { costs?: string | undefined; calibrate?: string | undefined; out?: string | undefined },
): void {
  const refuse = (message: string, param: string): never => {
    throw new MillraceError("invalid_option", message, { param });
  };
  if ((costs === undefined) === (model === undefined)) {
    const seen =
      costs === undefined
        ? "Neither --costs nor --calibrate is given"
        : "--costs and --calibrate are both given";
    refuse(
      `${seen}; a simulation needs the step costs of one model. Give --costs FILE, or --calibrate MODEL.`,
      "--costs",
    );
  }
  if (out !== undefined && model === undefined)
    refuse(
      "--out is given without --calibrate, which is what it keeps. Give both, or leave --out out.",
      "--out",
    );
  if (trace === undefined && model === undefined)
    refuse("There is no trace to simulate. Give a file, or --calibrate MODEL alone to measure.", "trace");
}

async function costsOf(
  command: Command,
  { costs, calibrate: model, out, calibrationTime }: ReturnType<typeof readSettings<typeof costSettings>>,
): Promise<StepCostsFile> {
  if (model === undefined) return readStepCosts(costs!);
  const precision = readSettings(command, enginePrecision);
  printNote(`Measuring steps of ${model} (about ${calibrationTime} s at most)`);
  const file = await calibrate(model, calibrationOptions(model, precision), calibrationTime * 1000);
  if (out !== undefined) writeFileAtomically(out, `${JSON.stringify(file, null, 2)}\n`);
  return file;
}

/** The defaults of `serve`, so that the KV cache found is the one that serve would take. */
function calibrationOptions(
  model: string,
  precision: ReturnType<typeof readSettings<typeof enginePrecision>>,
): EngineOptions {
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
  const { model, isa, numThreads } = file;
  const leftOut = [
    ...(numTooLong === 0 ? [] : [`${formatCount(numTooLong)} too long for the smallest configuration`]),
    ...(numEmpty === 0 ? [] : [`${formatCount(numEmpty)} without prompt or output`]),
  ];
  printLine(
    `${formatCount(requests.length)} requests over ${formatDuration(requests.at(-1)!.arrivalMs)}` +
      `${leftOut.length === 0 ? "" : `; left out: ${leftOut.join(", ")}`}. Costs of ${model} on ${isa}, ${numThreads} threads.`,
  );
  printLine("");
  printLine(simulationTable(results));
  printNote(`\nSimulated in ${formatDuration(timeMs)}.`);
}
