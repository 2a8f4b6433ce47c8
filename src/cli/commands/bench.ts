import { rmSync } from "node:fs";
import path from "node:path";
import type { Command } from "commander";
import { z } from "zod";
import { writeFileAtomically } from "../../base/write-file.ts";
import { runSweep, spreadText } from "../../bench/sweep.ts";
import { endpointUrlOf } from "../../client/endpoint.ts";
import { type Component, field } from "../../config/component.ts";
import { integer, integerList } from "../../config/value-schemas.ts";
import type { BenchRecord, Distribution } from "../../records/bench.ts";
import { type CommandHelp, createCommand } from "../create-command.ts";
import { listenForInterrupt } from "../interrupt.ts";
import { checkOutputFolder } from "../output-folder.ts";
import { addSettings, readSettings } from "../settings.ts";
import { formatTable, printLine, TerminalProgress } from "../terminal.ts";

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

const own = {
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
Works on any server with streaming POST /v1/completions. Closed loop: N patient users, each sending the next request
when its answer is complete. TTFT = first token − sent; TPOT = mean per output token after the first; ITL = gaps between
arrivals, too long where several tokens arrive together (tok/arrival above 1). ± is a 95 % interval from the spread
inside the stage. * marks percentiles with too few samples.
Prompts are token ids of common words where the server has POST /tokenize; elsewhere text, whose length is adjusted by
what the server counts in the warm-up.`,
  examples: [
    "millrace bench http://127.0.0.1:8000",
    "millrace bench http://127.0.0.1:8000 --concurrency 1,8,32 --input-tokens 512 --out ./load",
  ],
};

export function benchCommand(): Command {
  const command = createCommand("bench", help).argument("<url>", "base URL, the part before /v1");
  for (const part of [loadSettings, own]) addSettings(command, part);
  return command.action(runBench);
}

async function runBench(url: string, _options: unknown, command: Command): Promise<void> {
  const load = readSettings(command, loadSettings);
  const { model, apiKey, vocab, warmup, seed, out, json } = readSettings(command, own);
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
      concurrencies: load.concurrency,
      requestsPerSeat: load.requestsPerSeat,
      minRequests: 8,
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
        writeFileAtomically(path.join(folder, `requests_c${stage.concurrency}.jsonl`), lines);
      },
    });
    if (folder !== null)
      writeFileAtomically(path.join(folder, "bench.json"), `${JSON.stringify(record, null, 2)}\n`);
    printLine(json ? JSON.stringify(record, null, 2) : stageTable(record));
    interrupt.signal.throwIfAborted();
  } finally {
    interrupt.release();
  }
}

function stageTable(record: BenchRecord): string {
  const p50 = (distribution: Distribution | null): string => distribution?.p50.toFixed(1) ?? "–";
  const p99 = (distribution: Distribution | null): string =>
    distribution === null
      ? "–"
      : `${distribution.p99.toFixed(1)}${distribution.weak.includes("p99") ? "*" : ""}`;
  const rows = record.stages.map((stage) => [
    String(stage.concurrency),
    String(stage.numRequests),
    String(stage.numErrors),
    `${stage.outputTokensPerSecond.toFixed(1)}${spreadText(stage)}`,
    stage.totalTokensPerSecond.toFixed(1),
    p50(stage.ttftMs),
    p99(stage.ttftMs),
    p50(stage.tpotMs),
    p99(stage.tpotMs),
    p99(stage.itlMs),
    stage.tokensPerArrival?.toFixed(2) ?? "–",
    stage.e2eMs?.p50.toFixed(0) ?? "–",
  ]);
  const load = ["in flight", "requests", "errors", "output tok/s", "total tok/s"];
  const times = ["TTFT p50", "TTFT p99", "TPOT p50", "TPOT p99", "ITL p99", "tok/arrival", "e2e p50 ms"];
  return `${formatTable([...load, ...times], rows)}\n${promptLine(record)}`;
}

/** Prompt tokens: asked for, and as the server counted them. */
function promptLine({ workload, stages }: BenchRecord): string {
  const counts = stages.flatMap((stage) => stage.meanPromptTokens ?? []);
  const counted =
    counts.length === 0
      ? "the server sends no usage"
      : `${(counts.reduce((sum, count) => sum + count, 0) / counts.length).toFixed(1)} counted by the server`;
  const form = workload.numWords === null ? "token ids" : `text of ${workload.numWords} words`;
  return `Prompt tokens: ${workload.inputTokens} asked for, ${counted} (${form}).`;
}
