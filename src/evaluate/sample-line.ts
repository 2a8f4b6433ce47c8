import { z } from "zod";
import { type EvaluationSample, type SampleResponse, sampleScoreSchema } from "../records/evaluation.ts";
import { floatText, parseFloatText } from "./python-text.ts";

const responseText: z.ZodType<ResponseText> = z.union([z.string(), z.array(z.string())]);
type ResponseText = string | string[];

/** A line of lm-eval's `samples_TASK_TIME.jsonl`; each metric stands beside these keys under its own name. */
const lineSchema = z.looseObject({
  doc_id: z.int().nonnegative(),
  doc: z.record(z.string(), z.unknown()),
  target: z.string(),
  arguments: z.record(z.string(), z.record(z.string(), z.unknown())),
  resps: z.array(z.array(responseText)),
  filtered_resps: z.array(responseText),
  filter: z.string(),
  metrics: z.array(z.string()),
  doc_hash: z.string(),
  prompt_hash: z.string(),
  target_hash: z.string(),
});

/** A sample as lm-eval writes it: arguments by name, numbers and verdicts of the model as Python's texts. */
export function sampleLine(sample: EvaluationSample): Record<string, unknown> {
  const { metrics } = sample;
  const asked = sample.arguments.map((parts, i) => [
    `gen_args_${i}`,
    Object.fromEntries(parts.map((part, j) => [`arg_${j}`, part])),
  ]);
  return {
    doc_id: sample.doc_id,
    doc: sample.doc,
    target: String(sample.target),
    arguments: Object.fromEntries(asked),
    resps: sample.resps.map((responses) => responses.map(writeResponse)),
    filtered_resps: sample.filtered_resps.map(writeResponse),
    filter: sample.filter,
    metrics: Object.keys(metrics),
    doc_hash: sample.doc_hash,
    prompt_hash: sample.prompt_hash,
    target_hash: sample.target_hash,
    ...metrics,
  };
}

/**
 * The sample of a line, or null for what is none.
 *
 * @param outputType lm-eval's kind of the task: it says whether a response is a text or a number
 */
export function readSampleLine(line: unknown, outputType: string): EvaluationSample | null {
  const parsed = lineSchema.safeParse(line).data;
  if (parsed === undefined) return null;
  const scores = z
    .record(z.string(), sampleScoreSchema)
    .safeParse(Object.fromEntries(parsed.metrics.map((name) => [name, parsed[name]]))).data;
  if (scores === undefined) return null;
  const isText = outputType === "generate_until";
  return {
    doc_id: parsed.doc_id,
    doc: parsed.doc,
    target: parsed.target,
    arguments: Object.values(parsed.arguments).map((parts) => Object.values(parts)),
    resps: parsed.resps.map((responses) => responses.map((each) => readResponse(each, isText))),
    filtered_resps: parsed.filtered_resps.map((each) => readResponse(each, isText)),
    filter: parsed.filter,
    metrics: scores,
    doc_hash: parsed.doc_hash,
    prompt_hash: parsed.prompt_hash,
    target_hash: parsed.target_hash,
  };
}

function writeResponse(response: SampleResponse): ResponseText {
  if (typeof response === "string") return response;
  if (typeof response === "number") return floatText(response);
  if (!isLikelihood(response)) return [...response];
  return [floatText(response[0]), response[1] ? "True" : "False"];
}

function isLikelihood(response: readonly unknown[]): response is readonly [number, boolean] {
  return typeof response[0] === "number";
}

function readResponse(response: ResponseText, isText: boolean): SampleResponse {
  if (isText) return response;
  const [first = "", verdict] = typeof response === "string" ? [response] : response;
  return verdict === undefined ? parseFloatText(first) : [parseFloatText(first), verdict === "True"];
}
