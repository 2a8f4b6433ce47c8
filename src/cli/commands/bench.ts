import { rmSync } from "node:fs";
import path from "node:path";
import type { Command } from "commander";
import { writeFileAtomically } from "../../base/write-file.ts";
import { recordsFile, runSweep } from "../../bench/sweep.ts";
import type { BenchRecord } from "../../records/bench.ts";
import { benchOptionsOf, minRequests, ratesOf } from "../bench-load.ts";
import { benchSettings, loadSettings, rateSettings } from "../bench-settings.ts";
import { type CommandHelp, createCommand } from "../create-command.ts";
import { listenForInterrupt } from "../interrupt.ts";
import { loadTables } from "../load-tables.ts";
import { checkOutputFolder } from "../output-folder.ts";
import { addSettings, readSettings } from "../settings.ts";
import { printLine, TerminalProgress } from "../terminal.ts";

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
    "millrace bench http://127.0.0.1:8000 --trace AzureLLMInferenceTrace_conv.csv --trace-speed 0.1 --num-requests 200",
  ],
};

export function benchCommand(): Command {
  const command = createCommand("bench", help).argument("<url>", "base URL, the part before /v1");
  for (const part of [loadSettings, rateSettings, benchSettings]) addSettings(command, part);
  return command.action(runBench);
}

async function runBench(url: string, _options: unknown, command: Command): Promise<void> {
  const load = readSettings(command, loadSettings);
  const values = readSettings(command, benchSettings);
  const { rates, lengths } = ratesOf(readSettings(command, rateSettings), load.minSeconds);
  const isOpenOnly = rates.length > 0 && command.opts()["concurrency"] === undefined;
  const folder = values.out === undefined ? null : path.resolve(values.out);
  if (folder !== null) checkOutputFolder(folder);
  const options = benchOptionsOf(url, load, values);
  const interrupt = listenForInterrupt(
    "No record was written. Run the same command again; every load is measured anew.",
  );
  try {
    await runSweep({
      ...options,
      lengths,
      concurrencies: isOpenOnly ? [] : load.concurrency,
      rates,
      requestsPerSeat: load.requestsPerSeat,
      minRequests,
      minSeconds: load.minSeconds,
      pricePerHour: values.pricePerHour ?? null,
      progress: new TerminalProgress(),
      signal: interrupt.signal,
      onStage: (stage, records) => {
        if (folder === null) return;
        // An earlier run's record must not stand beside this run's requests.
        rmSync(path.join(folder, "bench.json"), { force: true });
        const lines = records.map((entry) => `${JSON.stringify(entry)}\n`).join("");
        writeFileAtomically(path.join(folder, recordsFile(stage)), lines);
      },
      onRecord: (record) => publish(record, folder, values.json),
    });
    interrupt.signal.throwIfAborted();
  } finally {
    interrupt.release();
  }
}

function publish(record: BenchRecord, folder: string | null, json: boolean): void {
  const text = JSON.stringify(record, null, 2);
  if (folder !== null) writeFileAtomically(path.join(folder, "bench.json"), `${text}\n`);
  printLine(json ? text : loadTables(record));
}
