import { existsSync, readdirSync, statSync } from "node:fs";
import path from "node:path";
import { MillraceError } from "../../base/errors.ts";
import { countText } from "../../bench/stage-text.ts";
import { benchRecordSchema } from "../../records/bench.ts";
import {
  type ComparisonRecord,
  comparisonSchema,
  type Measurement,
  servingRecordSchema,
  type Variant,
} from "../../records/comparison.ts";
import type { Origin } from "../../records/origin.ts";
import { readEvaluation } from "../evaluation-files.ts";
import { readJsonFile } from "../json-files.ts";
import type { Subject } from "./compose-comparison.ts";
import { faultAmongResults, faultInOwnRecord, faultInRun, guidellmFile } from "./fault-in-run.ts";
import type { LoadRun } from "./load-run.ts";
import { readBench } from "./read-bench.ts";
import { guidellmSchema, readGuidellm } from "./read-guidellm.ts";
import { joinVllm, vllmSchema } from "./read-vllm.ts";

/** What a place on the disk gives to compare. */
export interface ReadRun {
  readonly subjects: readonly Subject[];
  readonly notes: readonly string[];
}

/**
 * Reads a run of any tool: the folder of a flow, of `millrace bench --out`, of an evaluation of Millrace or lm-eval, or
 * of both of these; one server's folder of a flow; GuideLLM's report or the folder of it; a result of `vllm bench serve`,
 * or a folder of them. Throws `file_not_found`, and `invalid_data_file` for a file of one of these with a fault.
 */
export function readRun(place: string): ReadRun {
  if (!existsSync(place)) throw notFound(place, "is not there");
  const isFolder = statSync(place).isDirectory();
  const broken = isFolder ? faultInOwnRecord(place) : null;
  if (broken !== null) throw broken;
  const flow = comparisonSchema.safeParse(
    readJsonFile(isFolder ? path.join(place, "comparison.json") : place),
  ).data;
  if (flow !== undefined) return readFlow(isFolder ? place : path.dirname(place), flow);
  const run = isFolder ? readFolder(place) : readFile(place);
  const hasEvaluation =
    isFolder &&
    readdirSync(place, { recursive: true }).some((name) => /results_.+\.json$/.test(String(name)));
  const fault = run === null ? faultInRun(place) : null;
  if (fault !== null) throw fault;
  if (run === null && !hasEvaluation) throw faultOfSearch(place) ?? notFound(place, "holds no run");
  const evaluation = hasEvaluation ? readEvaluation(place) : null;
  const name = evaluation?.model_name ?? run?.name ?? place;
  return {
    subjects: [
      {
        variant: variantOf(name, run),
        evaluation,
        kvCache: null,
        measurements: [
          ...measuredIn("accuracy", name, evaluation?.origin),
          ...measuredIn("serving and load", name, run?.origin),
        ],
      },
    ],
    notes: run?.notes ?? [],
  };
}

/** The variants of a flow with their answers, each named after the flow too. */
function readFlow(folder: string, { variants, measurements, notes }: ComparisonRecord): ReadRun {
  const subjects = variants.map((variant): Subject => {
    const answers = variant.evaluation === null ? null : path.join(folder, variant.evaluation);
    const name = `${path.basename(path.resolve(folder))} ${variant.name}`;
    return {
      variant: { ...variant, name, evaluation: null },
      evaluation: answers !== null && existsSync(answers) ? readEvaluation(answers) : null,
      kvCache: null,
      measurements: measurements
        .filter((entry) => entry.variant === variant.name)
        .map((entry) => ({ ...entry, variant: name })),
    };
  });
  const gone = subjects.filter(
    ({ evaluation }, index) => evaluation === null && variants[index]!.evaluation !== null,
  );
  const ofGone = gone.map(
    ({ variant: { name } }) =>
      `The answers of ${name} are not there any more, so its quality is not compared.`,
  );
  return { subjects, notes: [...notes, ...ofGone] };
}

function measuredIn(
  part: Measurement["part"],
  variant: string,
  origin: Origin | null | undefined,
): Measurement[] {
  return origin == null ? [] : [{ part, variant, ...origin }];
}

function variantOf(name: string, run: LoadRun | null): Variant {
  return {
    name,
    weights: null,
    runAs: null,
    sizeBytes: null,
    evaluation: null,
    engine: run?.tool ?? null,
    serving: null,
    levels: [...(run?.levels ?? [])],
    hashes: { weights: null, answers: null },
    settings: run === null ? {} : { ...run.settings, tool: run.tool },
    failure: null,
  };
}

function readFolder(folder: string): LoadRun | null {
  const name = path.basename(path.resolve(folder));
  const own =
    readOwn(name, path.join(folder, "bench.json")) ?? readOwn(name, path.join(folder, "serving.json"));
  if (own !== null) return own;
  const report = existsSync(path.join(folder, guidellmFile))
    ? guidellmSchema.safeParse(readJsonFile(path.join(folder, guidellmFile))).data
    : undefined;
  const results = readdirSync(folder)
    .filter((name) => name.endsWith(".json"))
    .sort()
    .flatMap((name) => vllmSchema.safeParse(readJsonFile(path.join(folder, name))).data ?? []);
  const fault = report === undefined && results.length === 0 ? null : faultAmongResults(folder);
  if (fault !== null) throw fault;
  if (report === undefined) return results.length === 0 ? null : joinVllm(name, results);
  if (results.length === 0) return readGuidellm(name, report);
  throw new MillraceError(
    "invalid_data_file",
    `${folder} holds GuideLLM's ${guidellmFile} and ${countText(results.length, "result")} of vllm bench serve, which are two runs. Give ${path.join(folder, guidellmFile)} itself, or a folder with the others alone.`,
  );
}

function readFile(file: string): LoadRun | null {
  const name = path.basename(file).replace(/\.json$/, "");
  const own = readOwn(name, file);
  if (own !== null) return own;
  const json = readJsonFile(file);
  const guidellm = guidellmSchema.safeParse(json).data;
  if (guidellm !== undefined) return readGuidellm(name, guidellm);
  const vllm = vllmSchema.safeParse(json).data;
  return vllm === undefined ? null : joinVllm(name, [vllm]);
}

/** A load test that we measured, by itself or in a flow; null for any other file. */
function readOwn(name: string, file: string): LoadRun | null {
  const json = readJsonFile(file);
  const folder = path.dirname(file);
  const record = benchRecordSchema.safeParse(json).data;
  if (record !== undefined) return readBench(name, [{ record, folder }]);
  const serving = servingRecordSchema.safeParse(json).data;
  if (serving === undefined) return null;
  const run = readBench(name, [{ record: serving.bench, folder }]);
  return { ...run, settings: { ...run.settings, engine: serving.server, flags: serving.flags } };
}

/** Records of bench that hold no run of loads that were asked for; each lies in a file named after its kind. */
const notCompared = [
  {
    kind: "slo-search",
    what: "the search of --slo",
    next: "Run the load that it found with millrace bench --concurrency N --out FOLDER, and give that folder.",
  },
  {
    kind: "versus",
    what: "the comparison of --versus",
    next: "Its verdicts stand in that file. Load each server with millrace bench --concurrency N --out FOLDER, and give these folders.",
  },
] as const;

function faultOfSearch(place: string): MillraceError | null {
  for (const { kind, what, next } of notCompared) {
    const file = statSync(place).isDirectory() ? path.join(place, `${kind}.json`) : place;
    const json = readJsonFile(file);
    if (typeof json !== "object" || json === null || !("kind" in json) || json.kind !== kind) continue;
    return new MillraceError("invalid_data_file", `${file} is ${what}, which is not compared. ${next}`);
  }
  return null;
}

function notFound(place: string, what: string): MillraceError {
  return new MillraceError(
    "file_not_found",
    `${place} ${what}. Give the folder of a flow, of millrace bench --out, of an evaluation of millrace or lm-eval, GuideLLM's JSON report or its folder, or JSON of vllm bench serve, each of this version.`,
  );
}
