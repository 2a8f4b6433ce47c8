import { rateText, spreadText } from "../bench/stage-text.ts";
import type { BenchRecord, BenchStage, RateStage } from "../records/bench.ts";
import type { Distribution, LoadFigures } from "../records/load-figures.ts";
import { stageNotes } from "./stage-notes.ts";
import { formatTable } from "./terminal.ts";

const speeds = ["requests", "errors", "output tok/s", "total tok/s"];
const times = [
  "TTFT p50 ms",
  "TTFT p99 ms",
  "TPOT p50 ms",
  "TPOT p99 ms",
  "ITL p99 ms",
  "tok/arrival",
  "e2e p50 ms",
];

/** The stages of a load test for people, one table for each kind. */
export function loadTables(record: BenchRecord): string {
  const { stages, rates } = record;
  const tables = [
    ...(stages.length === 0 ? [] : [formatTable(["in flight", ...speeds, ...times], stages.map(closedRow))]),
    ...(rates.length === 0
      ? []
      : [
          formatTable(
            [
              "requests/s",
              "served/s",
              "in flight",
              ...speeds,
              ...times,
              "from due: TTFT p50 ms",
              "TTFT p99 ms",
            ],
            rates.map(rateRow),
          ),
        ]),
  ];
  const notes = [...stages, ...rates].flatMap((stage) => stageNotes(stage, record.pricePerHour));
  return [...tables, promptLine(record), ...notes].join("\n");
}

function closedRow(stage: BenchStage): string[] {
  return [String(stage.concurrency), ...figures(stage)];
}

function rateRow(stage: RateStage): string[] {
  const isTrace = stage.burstiness === null;
  const asked = stage.requestRate === "inf" ? (isTrace ? "trace" : "at once") : rateText(stage.requestRate);
  const { requestsPerSecond, meanInFlight, ttftFromDueMs } = stage;
  return [
    asked,
    requestsPerSecond.toFixed(2),
    meanInFlight.toFixed(1),
    ...figures(stage),
    p50(ttftFromDueMs),
    p99(ttftFromDueMs),
  ];
}

function figures(stage: LoadFigures): string[] {
  return [
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
  ];
}

function p50(distribution: Distribution | null): string {
  return distribution?.p50.toFixed(1) ?? "–";
}

function p99(distribution: Distribution | null): string {
  if (distribution === null) return "–";
  return `${distribution.p99.toFixed(1)}${distribution.weak.includes("p99") ? "*" : ""}`;
}

/** Prompt tokens: asked for, and as the server counted them. */
function promptLine({ workload, stages, rates }: BenchRecord): string {
  const counts = [...stages, ...rates].flatMap((stage) => stage.meanPromptTokens ?? []);
  const hasAnswers = [...stages, ...rates].some(
    ({ numRequests, numErrors, numCensored }) => numRequests > numErrors + numCensored,
  );
  const counted =
    counts.length === 0
      ? hasAnswers
        ? "the server sends no usage"
        : "no answer ended, so that the server counted none"
      : `${(counts.reduce((sum, count) => sum + count, 0) / counts.length).toFixed(1)} counted by the server`;
  // Turns and shared beginnings are counted with what is before them, which the words say.
  // A trace's own stage has times in place of a rate; its lengths, and what is left out of it, stand in the words.
  const isPlain =
    workload.inputTokens > 0 &&
    workload.caches !== "shared" &&
    rates.every(({ burstiness }) => burstiness !== null);
  const asked = isPlain ? `${workload.inputTokens} asked for` : workload.description;
  return `Prompt tokens: ${asked}, ${counted} (${promptFormText(workload)}).`;
}

/** `token ids`, `text of 96 words`, `messages`. */
export function promptFormText({ promptForm, numWords }: BenchRecord["workload"]): string {
  const words = numWords === null ? "" : ` of ${numWords} words`;
  return { "token-ids": "token ids", text: `text${words}`, chat: "messages" }[promptForm];
}
