import { rmSync } from "node:fs";
import path from "node:path";
import type { Command } from "commander";
import { z } from "zod";
import { writeFileAtomically } from "../../base/write-file.ts";
import { type RateLoad, recordsFile, runSweep } from "../../bench/sweep.ts";
import { endpointUrlOf } from "../../client/endpoint.ts";
import { type Component, field, type Values } from "../../config/component.ts";
import { integer, integerList, positiveOrInfinite, rateList } from "../../config/value-schemas.ts";
import { type CommandHelp, createCommand } from "../create-command.ts";
import { listenForInterrupt } from "../interrupt.ts";
import { loadTables } from "../load-tables.ts";
import { checkOutputFolder } from "../output-folder.ts";
import { addSettings, readSettings } from "../settings.ts";
import { printLine, TerminalProgress } from "../terminal.ts";

/** Settings of the load; the flow takes them too. */
export const loadSettings = {
  concurrency: field(
    "--concurrency <list>",
    integerList.default([1, 4, 16]),
    "requests in flight, one stage each",
  ),
  requestsPerSeat: field(
    "--requests-per-seat <n>",
    integer(1).default(3),
    "requests of a stage = this × concurrency, at least 8",
  ),
  minSeconds: field(
    "--min-seconds <n>",
    integer(0, 86400).default(3),
    "a stage goes on with further requests until it is so old",
  ),
  inputTokens: field("--input-tokens <n>", integer(1).default(128), "prompt length"),
  outputTokens: field(
    "--output-tokens <n>",
    integer(1).default(64),
    "tokens to generate; the end token is ignored",
  ),
} satisfies Component;

/** Of a stage of either kind. */
const minRequests = 8;

const own = {
  requestRate: field(
    "--request-rate <list>",
    rateList.default([]),
    "requests per second, one stage each, or inf for all at once; without --concurrency no closed loop is run",
  ),
  burstiness: field(
    "--burstiness <n>",
    positiveOrInfinite.prefault("1"),
    "how requests come at a rate: 1 Poisson, below 1 in bursts, above more evenly, inf at even gaps",
  ),
  numRequests: field(
    "--num-requests <n>",
    integer(1, 1_000_000).optional(),
    "requests of a stage with a rate (default: what comes in --min-seconds, at least 8; 32 at once)",
  ),
  maxConcurrency: field(
    "--max-concurrency <n>",
    integer(1, 100_000).optional(),
    "most requests in flight of a stage with a rate (default: no limit)",
  ),
  model: field(
    "--model <name>",
    z.string().optional(),
    "model name to ask for (default: the first that the server lists)",
  ),
  apiKey: field("--api-key <key>", z.string().optional(), "bearer token", { env: "OPENAI_API_KEY" }),
  vocab: field(
    "--vocab <n>",
    integer(256).optional(),
    "send random token ids below n instead of common words",
  ),
  warmup: field("--warmup <n>", integer(0).default(2), "requests before the first stage that do not count"),
  seed: field("--seed <n>", integer(0).default(1), "seed of the prompts"),
  out: field(
    "--out <folder>",
    z.string().optional(),
    "keep bench.json and the raw records of every request here",
  ),
  json: field("--json", z.boolean().default(false), "print the figures as JSON"),
} satisfies Component;

const help: CommandHelp = {
  summary: "Load-test any OpenAI-compatible server",
  details: `
Works on any server with streaming POST /v1/completions. --concurrency is a closed loop: N patient users, each sending
the next request when its answer is complete. --request-rate is an open loop: requests leave when they are due, answered
or not, and "from due" times count from then, so that no stall of the server is left out. A row counts only where the client
kept up: it measures its own delays, and says where not. TTFT = first token − sent; TPOT = mean per output token after the first; ITL = gaps between
arrivals, too long where several tokens arrive together (tok/arrival above 1). ± is a 95 % interval from the spread
inside the stage. * marks percentiles with too few samples.
Prompts are token ids of common words where the server has POST /tokenize; elsewhere text, whose length is adjusted by
what the server counts in the warm-up.`,
  examples: [
    "millrace bench http://127.0.0.1:8000",
    "millrace bench http://127.0.0.1:8000 --concurrency 1,8,32 --input-tokens 512 --out ./load",
    "millrace bench http://127.0.0.1:8000 --request-rate 0.5,1,2 --burstiness 0.5 --min-seconds 60",
  ],
};

export function benchCommand(): Command {
  const command = createCommand("bench", help).argument("<url>", "base URL, the part before /v1");
  for (const part of [loadSettings, own]) addSettings(command, part);
  return command.action(runBench);
}

async function runBench(url: string, _options: unknown, command: Command): Promise<void> {
  const load = readSettings(command, loadSettings);
  const values = readSettings(command, own);
  const { model, apiKey, vocab, warmup, seed, out, json } = values;
  const rates = ratesOf(values, load.minSeconds);
  const isOpenOnly = rates.length > 0 && command.opts()["concurrency"] === undefined;
  const endpoint = { url: endpointUrlOf(url, "url"), apiKey };
  const folder = out === undefined ? null : path.resolve(out);
  if (folder !== null) checkOutputFolder(folder);
  const interrupt = listenForInterrupt(
    "No record was written. Run the same command again; every load is measured anew.",
  );
  try {
    const record = await runSweep({
      endpoint,
      model: model ?? null,
      concurrencies: isOpenOnly ? [] : load.concurrency,
      rates,
      requestsPerSeat: load.requestsPerSeat,
      minRequests,
      minSeconds: load.minSeconds,
      inputTokens: load.inputTokens,
      outputTokens: load.outputTokens,
      numWarmup: warmup,
      seed,
      vocabSize: vocab ?? null,
      progress: new TerminalProgress(),
      signal: interrupt.signal,
      onStage: (stage, records) => {
        if (folder === null) return;
        // An earlier run's record must not stand beside this run's requests.
        rmSync(path.join(folder, "bench.json"), { force: true });
        const lines = records.map((entry) => `${JSON.stringify(entry)}\n`).join("");
        writeFileAtomically(path.join(folder, recordsFile(stage)), lines);
      },
    });
    if (folder !== null)
      writeFileAtomically(path.join(folder, "bench.json"), `${JSON.stringify(record, null, 2)}\n`);
    printLine(json ? JSON.stringify(record, null, 2) : loadTables(record));
    interrupt.signal.throwIfAborted();
  } finally {
    interrupt.release();
  }
}

function ratesOf(values: Values<typeof own>, minSeconds: number): RateLoad[] {
  const { burstiness, maxConcurrency = null } = values;
  return values.requestRate.map((requestRate) => {
    const isAtOnce = requestRate === Number.POSITIVE_INFINITY;
    const usual = isAtOnce ? 32 : Math.max(minRequests, Math.ceil(requestRate * minSeconds));
    return {
      arrivals: { requestRate, burstiness },
      numRequests: values.numRequests ?? usual,
      maxConcurrency,
    };
  });
}
