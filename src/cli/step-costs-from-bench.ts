import path from "node:path";
import type { z } from "zod";
import { MillraceError, messageOf } from "../base/errors.ts";
import { formatCount } from "../base/units.ts";
import { defaultBlockSize } from "../engine/engine-plan.ts";
import { fitStepCosts, type MeasuredStep } from "../engine/simulator/fit-step-costs.ts";
import { observeSteps, withoutImpossible } from "../engine/simulator/observe-steps.ts";
import type { ObservedRequest } from "../engine/simulator/step-timeline.ts";
import {
  type BenchRecord,
  benchRecordSchema,
  type RequestRecord,
  requestRecordSchema,
} from "../records/bench.ts";
import { readText } from "./read-text.ts";
import type { StepCostsFile } from "./step-costs-file.ts";

/** What the server had, which its clients cannot see. */
export interface ServerSizes {
  readonly maxModelLen: number;
  readonly numKvBlocks: number;
  readonly maxNumBatchedTokens: number;
}

/** Share of requests with several tokens in one event from which on a stage says nothing. */
const maxMergedShare = 0.1;

/**
 * Step costs from folders that `millrace bench --out` wrote, all of one model on one server. HTTP, the client and all
 * that they take from the engine's cores are in the times.
 *
 * Errors: `file_not_found`, `invalid_data_file`.
 */
export function stepCostsFromBench(folders: readonly string[], sizes: ServerSizes): StepCostsFile {
  const runs = folders.map((folder) => ({ folder, record: readRecord(path.join(folder, "bench.json")) }));
  const { model, url, origin } = runs[0]!.record;
  for (const { folder, record } of runs) {
    if (record.model === model && record.url === url) continue;
    throw new MillraceError(
      "invalid_data_file",
      `${folder} is of ${record.model} at ${record.url}, ${folders[0]} of ${model} at ${url}; step costs are those of one ` +
        "server. Give runs against the same one.",
      { param: "--calibrate-from" },
    );
  }
  const steps = withoutImpossible(runs.flatMap(({ folder, record }) => stepsOfRun(folder, record, sizes)));
  checkSteps(steps);
  const { model: costs, ...errors } = fitStepCosts(steps);
  return {
    kind: "step-costs",
    version: 1,
    model,
    measured: `as seen by the clients of ${url}, on ${origin.processor}`,
    maxModelLen: sizes.maxModelLen,
    blockSize: defaultBlockSize,
    blockBytes: null,
    numKvBlocks: sizes.numKvBlocks,
    costs,
    ...errors,
    steps,
  };
}

/** What the costs cannot say, because no load was there that tells it. */
export function blindSpots({ steps }: StepCostsFile): string[] {
  const starts = steps.filter(({ isRequest }) => isRequest);
  const lengths = new Set(starts.map(({ shape }) => shape.numPrefillTokens));
  const counts = steps.flatMap(({ shape }) => (shape.numPrefillTokens === 0 ? shape.numSequences : []));
  return [
    ...(starts.length === 0
      ? ["No request was alone: what one costs outside of steps is left out. Add --concurrency 1."]
      : []),
    ...(lengths.size < 2
      ? ["One prompt length: longer and shorter ones are guessed. Add a run with another --input-tokens."]
      : []),
    `Steps of more than ${formatCount(Math.max(...counts))} drawing sequences are guessed from smaller ones.`,
  ];
}

function readRecord(file: string): BenchRecord {
  return parseAs(benchRecordSchema, readText(file), file);
}

function stepsOfRun(folder: string, record: BenchRecord, sizes: ServerSizes): MeasuredStep[] {
  return record.stages.flatMap(({ concurrency }) => {
    const file = path.join(folder, `requests_c${concurrency}.jsonl`);
    const requests = readText(file)
      .split("\n")
      .flatMap((line, index) =>
        line === "" ? [] : [parseAs(requestRecordSchema, line, `${file}, line ${index + 1}`)],
      );
    const observed = requests.map((request) => observedRequest(request, record.workload.inputTokens, file));
    const numMerged = observed.filter(({ tokenMs }) => tokenMs.length === 0).length;
    if (numMerged <= maxMergedShare * observed.length)
      return observeSteps(observed, { maxNumBatchedTokens: sizes.maxNumBatchedTokens });
    throw new MillraceError(
      "invalid_data_file",
      `${numMerged} of ${observed.length} requests in ${file} failed or have several tokens in one event, so that single steps ` +
        "cannot be told. Use a server and a load that send each token by itself.",
      { param: "--calibrate-from" },
    );
  });
}

function observedRequest(request: RequestRecord, inputTokens: number, file: string): ObservedRequest {
  const { sentMs, endMs, promptTokens, outputTokens, chunkMs, error } = request;
  if (error === null && outputTokens === null) {
    throw new MillraceError(
      "invalid_data_file",
      `${file} has no token counts: the server sends no usage. Step costs need them; use a server that does.`,
      { param: "--calibrate-from" },
    );
  }
  const isTold = error === null && chunkMs.length === outputTokens;
  return { sentMs, endMs, numPromptTokens: promptTokens ?? inputTokens, tokenMs: isTold ? chunkMs : [] };
}

function checkSteps(steps: readonly MeasuredStep[]): void {
  const hasDraws = steps.some(({ shape }) => shape.numPrefillTokens === 0);
  const hasPrompts = steps.some(({ shape }) => shape.numPrefillTokens > 0);
  if (hasDraws && hasPrompts) return;
  throw new MillraceError(
    "invalid_data_file",
    `The records tell of ${hasDraws ? "no step with a prompt" : "no step that only draws"}; both are needed. Load the ` +
      "server longer, with --concurrency 1,2,4,8,16 and at least 16 output tokens.",
    { param: "--calibrate-from" },
  );
}

function parseAs<T>(schema: z.ZodType<T>, text: string, place: string): T {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw notRecord(place, messageOf(cause), cause);
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const { path: where, message } = parsed.error.issues[0]!;
  throw notRecord(place, `${where.join(".")}: ${message}`, parsed.error);
}

function notRecord(place: string, problem: string, cause: unknown): MillraceError {
  return new MillraceError(
    "invalid_data_file",
    `${place} is no record of a load test (${problem}). Make it with millrace bench URL --out FOLDER.`,
    { param: "--calibrate-from", cause },
  );
}
