import { existsSync, statSync } from "node:fs";
import path from "node:path";
import type { Command } from "commander";
import { z } from "zod";
import { MillraceError } from "../../base/errors.ts";
import { unwritable, writeFileAtomically } from "../../base/write-file.ts";
import { endpointUrlOf } from "../../client/endpoint.ts";
import { createHttpChatCompleter } from "../../client/http-completer.ts";
import { createHttpEmbedder } from "../../client/http-embedder.ts";
import { createHttpFirstTokenReader } from "../../client/http-first-token.ts";
import { JsonChannel } from "../../client/json-channel.ts";
import { firstModelOf } from "../../client/served-models.ts";
import { type Component, field, type Values } from "../../config/component.ts";
import { integer, oneOf, real, textList } from "../../config/value-schemas.ts";
import { chatJudge, type Judge } from "../../evaluate/rag/judge.ts";
import { choiceJudge, ratingJudge } from "../../evaluate/rag/logprob-verdict.ts";
import { type Agreement, type PairJudge, textPairJudge } from "../../evaluate/rag/preference.ts";
import { ragMetrics } from "../../evaluate/rag/rag-metrics.ts";
import {
  type PreferenceRecord,
  type RagRecord,
  readAnswerPair,
  readRagRow,
  runPreferences,
  runRag,
} from "../../evaluate/rag/run-rag.ts";
import { PromptTokenCount } from "../../evaluate/requests/prompt-token-count.ts";
import { parseJsonRows, type Row } from "../../evaluate/row-reader.ts";
import type { FirstTokenReader } from "../../protocol/completer.ts";
import { apiKeyField } from "../api-key.ts";
import { refuseIdleFlags } from "../contradicting-flags.ts";
import { type CommandHelp, createCommand } from "../create-command.ts";
import { printPromptTokens } from "../evaluation-text.ts";
import { listenForInterrupt } from "../interrupt.ts";
import { checkOutputFolder } from "../output-folder.ts";
import { readText } from "../read-text.ts";
import { addSettings, readSettings } from "../settings.ts";
import { formatTable, printLine, printNote, TerminalProgress } from "../terminal.ts";
import { trustOf, trustSettings } from "../trust-settings.ts";

const allMetrics = Object.keys(ragMetrics);

const own = {
  url: field(
    "--url <url>",
    z.string({ error: "it takes the judge's base URL" }),
    "OpenAI-compatible chat endpoint of the judge",
  ),
  judge: field(
    "--judge <name>",
    z.string().optional(),
    "name of the judge at --url (default: the first that it lists)",
  ),
  apiKey: apiKeyField("bearer token for --url"),
  ...trustSettings,
  metrics: field(
    "--metrics <names>",
    textList.optional(),
    `some of ${allMetrics.join(", ")} (default: all that can be had)`,
  ),
  embeddingsUrl: field(
    "--embeddings-url <url>",
    z.string().optional(),
    "endpoint of an embedding model; answer_relevancy needs it",
  ),
  embeddingModel: field(
    "--embedding-model <name>",
    z.string().optional(),
    "its name (default: the first that it lists)",
  ),
  preferences: field(
    "--preferences",
    z.boolean().default(false),
    "the file holds pairs of answers: choose the better of each, asked in both orders, and compare with the labels of people",
  ),
  verdict: field(
    "--verdict <how>",
    oneOf(["text", "choice", "rating"]).default("text"),
    "with --preferences: text asks for a verdict in words; choice reads the probabilities of A and B, rating those of 1 to 5 for each answer alone (both need a server with logprobs, and any model gives one)",
  ),
  repeats: field(
    "--repeats <n>",
    integer(1, 100).default(1),
    "judge each row so often, to see how far the judge is from itself",
  ),
  temperature: field("--temperature <t>", real(0, 2).default(0), "the judge's temperature"),
  maxTokens: field("--max-tokens <n>", integer(1).default(1024), "longest answer of the judge"),
  limit: field("--limit <n>", integer(1).optional(), "first rows only"),
  concurrency: field("--concurrency <n>", integer(1, 256).default(8), "rows in flight"),
  out: field("--out <file>", z.string().optional(), "write every row's scores as JSON"),
  json: field("--json", z.boolean().default(false), "print JSON"),
} satisfies Component;

const help: CommandHelp = {
  summary: "Judge answers that were made from retrieved texts",
  details: `
Rows are {question, answer, contexts, reference?}, as JSON lines or a JSON array. Rows that the judge cannot decide are
counted and enter no figure.`,
  examples: [
    "millrace rag answers.jsonl --url http://127.0.0.1:8000",
    "millrace rag answers.jsonl --url http://127.0.0.1:8000 --embeddings-url http://127.0.0.1:8001 --repeats 3",
    "millrace rag pairs.json --preferences --verdict choice --url http://127.0.0.1:8000",
  ],
};

export function ragCommand(): Command {
  const command = createCommand("rag", help).argument("<file>", "rows to judge");
  return addSettings(command, own).action(runRagCommand);
}

async function runRagCommand(file: string, _options: unknown, command: Command): Promise<void> {
  const settings = readSettings(command, own);
  const metrics = chooseMetrics(settings);
  checkVerdict(settings);
  refuseContradictions(command, settings);
  if (settings.out !== undefined) checkOutputFile(settings.out);
  const rows = readRows(file).slice(0, settings.limit);
  const whereIs = (index: number): string => `${file}, row ${index + 1},`;
  const interrupt = listenForInterrupt("No scores were written. Run the same command again.");
  const opened: JsonChannel[] = [];
  const open = async (
    url: string,
    flag: string,
    name: string | undefined,
  ): Promise<[JsonChannel, string]> => {
    const endpoint = { url: endpointUrlOf(url, flag), apiKey: settings.apiKey, tls: trustOf(settings) };
    const model = name ?? (await firstModelOf(endpoint)).id;
    const channel = new JsonChannel(endpoint, settings.concurrency);
    opened.push(channel);
    return [channel, model];
  };
  try {
    const pairs = settings.preferences ? rows.map((row, i) => readAnswerPair(row, whereIs(i))) : [];
    const answers = settings.preferences ? [] : rows.map((row, i) => readRagRow(row, whereIs(i)));
    const endpoint = await open(settings.url, "--url", settings.judge);
    const count = new PromptTokenCount();
    const writer = createHttpChatCompleter(...endpoint);
    const completer = {
      complete: count.counted((...asked: Parameters<typeof writer.complete>) => writer.complete(...asked)),
    };
    const judgeOf = (repeat: number): Judge => chatJudge(completer, { ...settings, seed: repeat });
    const { embeddingsUrl, concurrency, repeats } = settings;
    const embed =
      embeddingsUrl === undefined
        ? null
        : createHttpEmbedder(...(await open(embeddingsUrl, "--embeddings-url", settings.embeddingModel)));
    const common = { concurrency, progress: new TerminalProgress(), signal: interrupt.signal };
    const teller = createHttpFirstTokenReader(...endpoint);
    const reader = {
      firstTokens: count.counted((...asked: Parameters<typeof teller.firstTokens>) =>
        teller.firstTokens(...asked),
      ),
    };
    const judged = settings.preferences
      ? await runPreferences(pairs, { ...common, judge: pairJudgeOf(settings.verdict, reader, judgeOf(0)) })
      : await runRag(answers, { ...common, judgeOf, embed, metrics, repeats });
    const record = { ...judged, promptTokens: count.total ?? null };
    printPromptTokens(count.total);
    noteUndecided(record, settings.verdict);
    if (settings.out !== undefined) writeFileAtomically(settings.out, `${JSON.stringify(record, null, 2)}\n`);
    if (settings.json) printLine(JSON.stringify(record, null, 2));
    else if (record.kind === "rag") printScores(record);
    else printPreferences(record);
  } finally {
    interrupt.release();
    await Promise.all(opened.map((channel) => channel.close()));
  }
}

function checkVerdict({ verdict, preferences }: Values<typeof own>): void {
  if (verdict === "text" || preferences) return;
  throw new MillraceError(
    "invalid_option",
    `--verdict ${verdict} chooses between two answers, but rows are judged one by one. Add --preferences with a file of pairs, or leave it out.`,
    { param: "--verdict" },
  );
}

/** Flags that would be passed over in silence. */
function refuseContradictions(
  command: Command,
  { preferences, verdict, embeddingsUrl: url }: Values<typeof own>,
): void {
  const { metrics, embeddingsUrl, embeddingModel, repeats, temperature, maxTokens } = own;
  if (preferences) {
    const why =
      "--preferences compares two answers once, by no metric. Leave it out, or leave out --preferences.";
    refuseIdleFlags(command, { metrics, embeddingsUrl, embeddingModel, repeats }, why);
  }
  if (verdict !== "text") {
    const why = `--verdict ${verdict} reads the probabilities of one token. Leave it out, or take --verdict text.`;
    refuseIdleFlags(command, { temperature, maxTokens }, why);
  }
  if (url === undefined) {
    const why = "no embeddings are asked for. Give their server with --embeddings-url, or leave it out.";
    refuseIdleFlags(command, { embeddingModel }, why);
  }
}

/** Before the first row is judged, so that no score is left without a place. Throws `output_unwritable`. */
function checkOutputFile(file: string): void {
  if (existsSync(file) && statSync(file).isDirectory()) throw unwritable(file, "it is a folder");
  checkOutputFolder(path.dirname(path.resolve(file)));
}

function pairJudgeOf(
  verdict: Values<typeof own>["verdict"],
  reader: FirstTokenReader,
  judge: Judge,
): PairJudge {
  if (verdict === "text") return textPairJudge(judge);
  return verdict === "choice" ? choiceJudge(reader) : ratingJudge(reader);
}

function chooseMetrics({ metrics, embeddingsUrl }: Values<typeof own>): readonly string[] {
  const usual = allMetrics.filter((name) => embeddingsUrl !== undefined || name !== "answer_relevancy");
  for (const name of metrics ?? []) {
    const problem = !allMetrics.includes(name)
      ? `has ${JSON.stringify(name)}; there are ${allMetrics.join(", ")}. Choose of these`
      : name === "answer_relevancy" && embeddingsUrl === undefined
        ? "has answer_relevancy, which compares embeddings. Give an embedding model with --embeddings-url, or leave it out"
        : undefined;
    if (problem !== undefined)
      throw new MillraceError("invalid_option", `--metrics ${problem}.`, { param: "--metrics" });
  }
  return metrics ?? usual;
}

function readRows(file: string): Row[] {
  const rows = parseJsonRows(readText(file), file);
  if (rows.length > 0) return rows;
  throw new MillraceError(
    "invalid_data_file",
    `${file} has no rows. It takes one or more, as JSON lines or a JSON array.`,
  );
}

function printScores({ scores }: RagRecord): void {
  const figure = (value: number | null): string => (value === null ? "–" : value.toFixed(4));
  const rows = scores.map((score) => [
    score.metric,
    figure(score.value),
    score.standardError === null ? "" : `± ${score.standardError.toFixed(4)}`,
    String(score.numScored),
    String(score.numUndecided),
    figure(score.judgeDeviation),
  ]);
  printLine(formatTable(["metric", "value", "stderr", "rows", "undecided", "judge's own deviation"], rows));
}

function percent(share: number | null): string {
  return share === null ? "–" : `${(100 * share).toFixed(1)} %`;
}

/** A judge too small to write the form leaves most rows undecided; who sees that should know the way on. */
function noteUndecided(record: RagRecord | PreferenceRecord, verdict: string): void {
  const numRows = record.kind === "rag" ? record.numRows : record.numPairs;
  const numUndecided =
    record.kind === "rag"
      ? Math.min(...record.scores.map((score) => score.numUndecided))
      : record.numUndecided;
  if (verdict !== "text" || numUndecided <= numRows / 2) return;
  const other =
    record.kind === "preferences" ? ", or take --verdict choice or rating, which any model can answer" : "";
  printNote(
    `${numUndecided} of ${numRows} rows are undecided: in three tries the judge wrote no answer of the asked form. Take a larger judge, or raise --max-tokens${other}.`,
  );
}

function printPreferences(record: PreferenceRecord): void {
  const { numPairs, numUndecided, placeBias, agreement, agreementWithoutTies } = record;
  printLine(
    `${numPairs} pairs, ${numUndecided} undecided; ${percent(placeBias)} chosen by place, not by answer`,
  );
  if (agreement !== null) printLine(`agrees with people in ${describeAgreement(agreement)}`);
  if (agreementWithoutTies !== null)
    printLine(`where both prefer one (chance 50 %), in ${describeAgreement(agreementWithoutTies)}`);
}

function describeAgreement({ agreement, interval, numPairs, kappa }: Agreement): string {
  const range =
    interval === null ? "" : ` (95 % interval ${percent(interval.low)} to ${percent(interval.high)})`;
  const beyond = kappa === null ? "–" : kappa.toFixed(3);
  return `${percent(agreement)}${range} of ${numPairs} pairs, Cohen's kappa ${beyond}`;
}
