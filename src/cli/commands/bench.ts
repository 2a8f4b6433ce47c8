import path from "node:path";
import { Command } from "commander";
import { z } from "zod";
import { MillraceError } from "../../base/errors.ts";
import { writeFileAtomically } from "../../base/write-file.ts";
import { runSweep } from "../../bench/sweep.ts";
import { type Component, field } from "../../config/component.ts";
import { integer, integerList } from "../../config/value-schemas.ts";
import type { BenchRecord } from "../../records/bench.ts";
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
  vocab: field("--vocab <n>", integer(256).optional(), "send random token ids below n instead of text"),
  warmup: field("--warmup <n>", integer(0).default(2), "requests before the first stage that do not count"),
  seed: field("--seed <n>", integer(0).default(1), "seed of the prompts"),
  out: field(
    "--out <folder>",
    z.string().optional(),
    "keep bench.json and the raw records of every request here",
  ),
  json: field("--json", z.boolean().default(false), "print the figures as JSON"),
} satisfies Component;

const examples = `
Works on any server with streaming POST /v1/completions. Closed loop: N patient users, each sending the next request
when its answer is complete. TTFT = first token − sent; ITL = gaps between stream events; TPOT = mean per output token
after the first. * marks percentiles with too few samples.

Examples:
  millrace bench http://127.0.0.1:8000
  millrace bench http://127.0.0.1:8000 --concurrency 1,8,32 --input-tokens 512 --out ./load`;

export function benchCommand(): Command {
  const command = new Command("bench")
    .description("load-test any OpenAI-compatible server")
    .argument("<url>", "base URL, the part before /v1")
    .addHelpText("after", examples);
  for (const part of [loadSettings, own]) addSettings(command, part);
  return command.action(runBench);
}

async function runBench(url: string, _options: unknown, command: Command): Promise<void> {
  const load = readSettings(command, loadSettings);
  const { model, apiKey, vocab, warmup, seed, out, json } = readSettings(command, own);
  checkUrl(url);
  const folder = out === undefined ? null : path.resolve(out);
  if (folder !== null) checkOutputFolder(folder);
  const interrupt = listenForInterrupt();
  try {
    const record = await runSweep({
      endpoint: { url: url.replace(/\/v1\/?$/, ""), apiKey },
      model: model ?? null,
      concurrencies: load.concurrency,
      requestsPerSeat: load.requestsPerSeat,
      minRequests: 8,
      inputTokens: load.inputTokens,
      outputTokens: load.outputTokens,
      numWarmup: warmup,
      seed,
      vocabSize: vocab ?? null,
      progress: new TerminalProgress(),
      signal: interrupt.signal,
      onStage: (stage, records) => {
        if (folder === null) return;
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

function checkUrl(url: string): void {
  if (URL.canParse(url) && /^https?:$/.test(new URL(url).protocol)) return;
  throw new MillraceError(
    "invalid_option",
    `"${url}" is not a URL. bench takes one such as http://127.0.0.1:8000.`,
    {
      param: "url",
    },
  );
}

function stageTable(record: BenchRecord): string {
  const rows = record.stages.map((stage) => {
    const p99 = (name: "ttftMs" | "itlMs"): string => {
      const distribution = stage[name];
      if (distribution === null) return "–";
      return `${distribution.p99.toFixed(1)}${distribution.weak.includes("p99") ? "*" : ""}`;
    };
    return [
      String(stage.concurrency),
      String(stage.numRequests),
      String(stage.numErrors),
      stage.outputTokensPerSecond.toFixed(1),
      stage.totalTokensPerSecond.toFixed(1),
      stage.ttftMs?.p50.toFixed(1) ?? "–",
      p99("ttftMs"),
      stage.itlMs?.p50.toFixed(1) ?? "–",
      p99("itlMs"),
      stage.e2eMs?.p50.toFixed(0) ?? "–",
    ];
  });
  const header = ["in flight", "requests", "errors", "output tok/s", "total tok/s"];
  return formatTable([...header, "TTFT p50", "TTFT p99", "ITL p50", "ITL p99", "e2e p50 ms"], rows);
}
