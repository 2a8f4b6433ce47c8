import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import type { z } from "zod";
import { MillraceError, messageOf } from "../../base/errors.ts";
import { shown } from "../../base/shown.ts";
import { benchRecordSchema } from "../../records/bench.ts";
import { comparisonSchema, servingRecordSchema } from "../../records/comparison.ts";
import { guidellmSchema } from "./read-guidellm.ts";
import { vllmSchema } from "./read-vllm.ts";

interface Kind {
  readonly what: string;
  readonly schema: z.ZodType;
  /** Fields of which one gives a file away as of this kind, whatever else it lacks. */
  readonly marks: readonly string[];
}

/** By their usual names, which are also what they say that they are. */
const ownKinds: ReadonlyMap<string, Kind> = new Map([
  ["comparison.json", { what: "the record of a flow", schema: comparisonSchema, marks: [] }],
  ["serving.json", { what: "what a flow measured of one server", schema: servingRecordSchema, marks: [] }],
  ["bench.json", { what: "a record of millrace bench", schema: benchRecordSchema, marks: ["stages"] }],
]);
const otherKinds: readonly Kind[] = [
  { what: "GuideLLM's report", schema: guidellmSchema, marks: ["benchmarks"] },
  {
    what: "a result of vllm bench serve",
    schema: vllmSchema,
    marks: ["request_throughput", "output_throughput", "num_prompts"],
  },
];

/** The name that GuideLLM gives its report where nobody chooses another. */
export const guidellmFile = "benchmarks.json";
const usualNames: ReadonlySet<string> = new Set([...ownKinds.keys(), guidellmFile]);

/** What is wrong with the first file of a place that was meant for a run; null where none looks like one. */
export function faultInRun(place: string): MillraceError | null {
  if (!statSync(place).isDirectory()) return faultIn(place, true);
  return faultInFolder(place, (name) => usualNames.has(name));
}

/** What is wrong with the first JSON file among results of another tool: each of them is meant to be one. */
export function faultAmongResults(folder: string): MillraceError | null {
  return faultInFolder(folder, () => true);
}

/** What is wrong with our own record of a folder: where there is one, nothing beside it is read in its place. */
export function faultInOwnRecord(folder: string): MillraceError | null {
  const files = [...ownKinds.keys()]
    .map((name) => path.join(folder, name))
    .filter((file) => existsSync(file));
  return files.map((file) => faultIn(file, true)).find((fault) => fault !== null) ?? null;
}

function faultInFolder(folder: string, isRun: (name: string) => boolean): MillraceError | null {
  const files = readdirSync(folder).filter((name) => name.endsWith(".json"));
  const faults = files.sort().map((name) => faultIn(path.join(folder, name), isRun(name)));
  return faults.find((fault) => fault !== null) ?? null;
}

/** @param isRun whether the file can be nothing but a run */
function faultIn(file: string, isRun: boolean): MillraceError | null {
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    return isRun ? wrong(`${file} is no JSON: ${messageOf(error)}`) : null;
  }
  const fields = (typeof json === "object" && json !== null ? json : {}) as Readonly<Record<string, unknown>>;
  const isMarked = ({ marks }: Kind): boolean => marks.some((mark) => mark in fields);
  const kind =
    ownKinds.get(`${String(fields["kind"])}.json`) ??
    ownKinds.get(path.basename(file)) ??
    [...otherKinds, ...ownKinds.values()].find(isMarked);
  const issue = kind?.schema.safeParse(json).error?.issues[0];
  if (issue === undefined) return null;
  const field = issue.path.length === 0 ? "content" : `field ${issue.path.join(".")}`;
  const seen = seenAt(json, issue.path);
  return wrong(`${file} is read as ${kind!.what}, and its ${field} is wrong: ${issue.message}${seen}`);
}

/** The value that is wrong, where it is short enough to be told. */
function seenAt(json: unknown, where: readonly PropertyKey[]): string {
  const value = where.reduce<unknown>(
    (each, key) =>
      typeof each === "object" && each !== null ? (each as Record<PropertyKey, unknown>)[key] : undefined,
    json,
  );
  return value === undefined || (typeof value === "object" && value !== null)
    ? ""
    : `; it is ${shown(value)}`;
}

function wrong(what: string): MillraceError {
  return new MillraceError(
    "invalid_data_file",
    `${what}. Write it again with a version whose files are read here, or correct it.`,
  );
}
