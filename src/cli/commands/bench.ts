import path from "node:path";
import type { Command } from "commander";
import { MillraceError } from "../../base/errors.ts";
import { writeFileAtomically } from "../../base/write-file.ts";
import {
  type ConsoleDialect,
  consoleText,
  type KeptStage,
  removeEarlierLoad,
  writeDialects,
} from "../../bench/dialects/load-exports.ts";
import { loadsOf, minRequests, sweepRates, sweepStart } from "../../bench/loads.ts";
import { runSloSearch } from "../../bench/slo/run-slo-search.ts";
import { runSweep, type SweepOptions } from "../../bench/sweep.ts";
import { runVersus } from "../../bench/versus/run-versus.ts";
import { writeRequests } from "../../bench/write-requests.ts";
import { endpointUrlOf } from "../../client/endpoint.ts";
import type { Values } from "../../config/component.ts";
import type { BenchRecord } from "../../records/bench.ts";
import { parseSlo } from "../../records/slo.ts";
import type { SloSearchRecord } from "../../records/slo-search.ts";
import type { VersusRecord } from "../../records/versus.ts";
import { benchOptionsOf, ratesOf } from "../bench-load.ts";
import {
  benchSettings,
  loadSettings,
  rateSettings,
  searchSettings,
  versusSettings,
} from "../bench-settings.ts";
import { type CommandHelp, createCommand } from "../create-command.ts";
import { refuseIdleBenchFlags } from "../idle-bench-flags.ts";
import { listenForInterrupt } from "../interrupt.ts";
import { loadTables } from "../load-tables.ts";
import { checkOutputFolder } from "../output-folder.ts";
import { addSettings, readSettings } from "../settings.ts";
import { sloTable } from "../slo-table.ts";
import { sweepNote } from "../sweep-note.ts";
import { printLine, printNote, TerminalProgress } from "../terminal.ts";
import { versusTable } from "../versus-table.ts";

/** Of a sweep that is not told otherwise, as GuideLLM has them. */
const sweepSeconds = 120;
const sweepConcurrency = 512;

const help: CommandHelp = {
  summary: "Load-test any OpenAI-compatible server",
  details: `
Works on any server with streaming POST /v1/completions. --concurrency is a closed loop: N patient users, each sending
the next request when its answer is complete. --request-rate, --ramp-up-strategy and --trace are open loops: requests leave
when they are due, answered or not, and "from due" times count from then, so that no stall of the server is left out. A row
counts only where the client kept up: it measures its own delays, and says where not. TTFT = first token − sent; TPOT = mean
per output token after the first; ITL = gaps between arrivals, too long where several tokens arrive together (tok/arrival
above 1). ± is a 95 % interval from the spread inside the stage. * marks percentiles with too few samples.
Prompts are token ids of common words where the server has POST /tokenize; elsewhere text, whose length is adjusted by
what the server counts in the warm-up.`,
  examples: [
    "millrace bench http://127.0.0.1:8000",
    "millrace bench http://127.0.0.1:8000 --concurrency 1,8,32 --input-tokens 512 --out ./load",
    "millrace bench http://127.0.0.1:8000 --request-rate 0.5,1,2 --burstiness 0.5 --min-seconds 60",
    "millrace bench http://127.0.0.1:8000 --versus http://127.0.0.1:8001 --concurrency 8",
    "millrace bench http://127.0.0.1:8000 --slo 'ttft_p90<=500ms,itl_p95<=50ms' --search rate",
    "millrace bench http://127.0.0.1:8000 --profile sweep --max-seconds 60 --data prompt_tokens=512,output_tokens=128",
    "millrace bench http://127.0.0.1:8000 --trace AzureLLMInferenceTrace_conv.csv --trace-speed 0.1 --num-requests 200",
  ],
};

export function benchCommand(): Command {
  const command = createCommand("bench", help).argument("<url>", "base URL, the part before /v1");
  for (const part of [loadSettings, rateSettings, searchSettings, versusSettings, benchSettings])
    addSettings(command, part);
  return command.action(runBench);
}

async function runBench(url: string, _options: unknown, command: Command): Promise<void> {
  const load = readSettings(command, loadSettings);
  const values = readSettings(command, benchSettings);
  const versus = readSettings(command, versusSettings);
  const search = readSettings(command, searchSettings);
  const arrivals = readSettings(command, rateSettings);
  refuseIdleBenchFlags(command, { load, arrivals, search, versus, values });
  const { rates, lengths } = ratesOf(arrivals, load.minSeconds);
  const isOpenOnly = rates.length > 0 && command.opts()["concurrency"] === undefined;
  const folder = values.out === undefined ? null : path.resolve(values.out);
  if (folder !== null) checkOutputFolder(folder);
  const parts = search.slo !== undefined ? "Probes" : versus.versus !== undefined ? "Whole rounds" : "Stages";
  const interrupt = listenForInterrupt(
    `${parts} that had ended are shown, and kept by --out. Run the same command again; every load is measured anew.`,
  );
  const options: SweepOptions = {
    ...benchOptionsOf(url, load, values),
    lengths,
    concurrencies: isOpenOnly ? [] : load.concurrency,
    rates,
    requestsPerSeat: load.requestsPerSeat,
    minRequests,
    minSeconds: load.minSeconds,
    progress: new TerminalProgress(),
    signal: interrupt.signal,
  };
  try {
    const output = { folder, json: values.json, dialect: values.console };
    if (search.slo !== undefined) await searchSlo(options, search, arrivals.burstiness, output);
    else if (versus.versus !== undefined) await runAgainst(options, versus, output);
    else if (search.profile === undefined) await sweep(options, values.pricePerHour, output);
    else await sweep(profiled(options, search, arrivals), values.pricePerHour, output);
    interrupt.signal.throwIfAborted();
  } finally {
    interrupt.release();
  }
}

/** Stages as GuideLLM's sweep has them. */
function profiled(
  options: SweepOptions,
  { sweepSize: size }: Values<typeof searchSettings>,
  { burstiness, maxConcurrency = sweepConcurrency }: Values<typeof rateSettings>,
): SweepOptions {
  const profile = { size, seconds: options.maxSeconds ?? sweepSeconds, maxConcurrency, burstiness };
  return {
    ...options,
    ...sweepStart(profile),
    rates: [],
    furtherRates: (stages) => {
      const found = sweepRates(stages, profile);
      const note = sweepNote(stages, { numRates: found.length, maxConcurrency });
      if (note !== null) printNote(note);
      return found;
    },
  };
}

async function searchSlo(
  options: SweepOptions,
  { slo, search, searchFrom, searchTo, searchTolerance, maxProbes }: Values<typeof searchSettings>,
  burstiness: number,
  output: Output,
): Promise<void> {
  const show = (record: SloSearchRecord): void =>
    publish("slo-search.json", record, sloTable(record), output);
  const record = await runSloSearch({
    ...options,
    onEarlyEnd: show,
    slo: parseSlo(slo!),
    variable: search,
    from: searchFrom,
    to: searchTo,
    tolerance: searchTolerance,
    maxProbes,
    burstiness,
  });
  show(record);
}

async function sweep(options: SweepOptions, pricePerHour: number | undefined, output: Output): Promise<void> {
  const { folder, dialect } = output;
  const kept: KeptStage[] = [];
  await runSweep({
    ...options,
    pricePerHour: pricePerHour ?? null,
    onStage: (stage, records) => {
      kept.push({ stage, requests: records });
      if (folder === null) return;
      if (kept.length === 1) removeEarlierLoad(folder);
      writeRequests(folder, stage, records);
    },
    onRecord: (record) => {
      const shown = dialect === "table" ? loadTables(record) : consoleText(dialect, record, kept);
      publish("bench.json", record, shown, output);
      // Behind the record and what is shown of it, so that a fault here loses neither.
      if (folder !== null) writeDialects(record, kept, folder);
    },
  });
}

interface Output {
  readonly folder: string | null;
  readonly json: boolean;
  readonly dialect: "table" | ConsoleDialect;
}

async function runAgainst(
  options: SweepOptions,
  { versus, versusModel, rounds, maxRounds, margin, detect }: Values<typeof versusSettings>,
  output: Output,
): Promise<void> {
  const loads = loadsOf(options);
  if (loads.length !== 1) {
    throw new MillraceError(
      "invalid_option",
      `--versus has ${loads.length} loads; it takes one, such as --concurrency 8 or --request-rate 2. Give one.`,
      { param: "--versus" },
    );
  }
  const endpoint = { ...options.endpoint, url: endpointUrlOf(versus!, "--versus") };
  // Two sides on one server must not find each other's prompts in its cache.
  const salt = options.salt == null ? 1 : options.salt + 1;
  const show = (record: VersusRecord): void => publish("versus.json", record, versusTable(record), output);
  const record = await runVersus({
    a: options,
    b: { ...options, endpoint, model: versusModel ?? null, salt },
    load: loads[0]!,
    firstRounds: rounds,
    // More first rounds than the usual most raise it; a most that was asked for is never below them.
    maxRounds: Math.max(rounds, maxRounds),
    margin,
    effect: detect,
    progress: options.progress,
    signal: options.signal,
    onEarlyEnd: show,
  });
  show(record);
}

function publish(
  name: string,
  record: BenchRecord | VersusRecord | SloSearchRecord,
  table: string,
  { folder, json }: Output,
): void {
  const text = JSON.stringify(record, null, 2);
  if (folder !== null) writeFileAtomically(path.join(folder, name), `${text}\n`);
  printLine(json ? text : table);
}
