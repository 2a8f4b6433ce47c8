import { readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import type { z } from "zod";
import { MillraceError, messageOf } from "../../base/errors.ts";
import { benchRecordSchema } from "../../records/bench.ts";
import { comparisonSchema } from "../../records/comparison.ts";
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

/** What is wrong with the first file of a place that was meant for a run; null where none looks like one. */
export function faultInRun(place: string): MillraceError | null {
  if (!statSync(place).isDirectory()) return faultIn(place, true);
  const files = readdirSync(place).filter((name) => name.endsWith(".json"));
  const faults = files.sort().map((name) => faultIn(path.join(place, name), ownKinds.has(name)));
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
  return wrong(`${file} is read as ${kind!.what}, and its ${field} is wrong: ${issue.message}`);
}

function wrong(what: string): MillraceError {
  return new MillraceError(
    "invalid_data_file",
    `${what}. Write it again with a version whose files are read here, or correct it.`,
  );
}
