import { MillraceError } from "../base/errors.ts";
import type { RequestScheduling } from "./engine-client.ts";

/** One request of a trace: when it came and how long it was. Texts are not in traces. */
export interface TraceRequest {
  /** Milliseconds after the trace's first request. */
  readonly arrivalMs: number;
  readonly numPromptTokens: number;
  readonly numOutputTokens: number;
  /** Most output tokens that the client asked for; null where the trace does not say. */
  readonly maxTokens: number | null;
  /** A number for each piece of `hashPieceTokens` prompt tokens; equal numbers are equal text. Empty: not known. */
  readonly hashIds: readonly number[];
  readonly scheduling: RequestScheduling | undefined;
}

/** Tokens that one hash id stands for in Mooncake's traces. */
export const hashPieceTokens = 512;

/** No context is longer; a larger number in a trace is a mistake. */
const maxTokensOfRequest = 2 ** 24;

/**
 * Reads a trace, sorted by arrival. Two forms are known, told apart by the first character:
 * - CSV of the Azure LLM inference traces (2023 and 2024): TIMESTAMP, ContextTokens, GeneratedTokens
 * - JSON lines as Mooncake's (Qin et al. 2024): timestamp in milliseconds, input_length, output_length, hash_ids; beside
 *   them max_tokens, priority, tenant and deadline_ms where given
 *
 * Errors: `invalid_data_file` with the line.
 *
 * @param name what messages call the trace
 */
export function parseTrace(text: string, name: string): TraceRequest[] {
  const lines = text.replace(/^\uFEFF/, "").split(/\r?\n/);
  const isJson = lines[0]?.trimStart().startsWith("{") ?? false;
  const requests = isJson ? parseJsonLines(lines, name) : parseAzure(lines, name);
  if (requests.length === 0) {
    throw new MillraceError(
      "invalid_data_file",
      `${name} holds no request; at least one line behind the header is needed. Give another trace.`,
    );
  }
  requests.sort((a, b) => a.arrivalMs - b.arrivalMs);
  const startMs = requests[0]!.arrivalMs;
  return requests.map((request) => ({ ...request, arrivalMs: request.arrivalMs - startMs }));
}

function parseAzure(lines: readonly string[], name: string): TraceRequest[] {
  const header = (lines[0] ?? "").split(",").map((title) => title.trim().toLowerCase());
  const [time, prompt, output] = ["timestamp", "contexttokens", "generatedtokens"].map((title) =>
    header.indexOf(title),
  );
  if (time === -1 || prompt === -1 || output === -1) {
    throw new MillraceError(
      "invalid_data_file",
      `${name} begins with "${(lines[0] ?? "").slice(0, 80)}"; a trace is CSV with the columns TIMESTAMP, ContextTokens and ` +
        "GeneratedTokens, or JSON lines with timestamp, input_length and output_length. Convert it to one of them.",
    );
  }
  const requests: TraceRequest[] = [];
  for (const [index, line] of lines.entries()) {
    if (index === 0 || line.trim() === "") continue;
    const cells = line.split(",");
    const place = { name, line: index + 1 };
    requests.push({
      arrivalMs: parseTime(cells[time!] ?? "", place),
      numPromptTokens: parseCount(cells[prompt!], "ContextTokens", place),
      numOutputTokens: parseCount(cells[output!], "GeneratedTokens", place),
      maxTokens: null,
      hashIds: [],
      scheduling: undefined,
    });
  }
  return requests;
}

interface Place {
  readonly name: string;
  readonly line: number;
}

/** "2023-11-16 18:15:46.6805900" as milliseconds with fraction; a zone may only be UTC. */
function parseTime(cell: string, place: Place): number {
  const match = /^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(\.\d{1,9})?(?:Z|\+00:00)?$/.exec(cell.trim());
  const seconds = match === null ? Number.NaN : Date.parse(`${match[1]}T${match[2]}Z`);
  if (match === null || Number.isNaN(seconds)) {
    throw fault(place, `TIMESTAMP is "${cell}"`, "it takes a time such as 2023-11-16 18:15:46.6805900");
  }
  return seconds + Number(match[3] ?? 0) * 1000;
}

function parseCount(value: unknown, field: string, place: Place): number {
  const count = typeof value === "string" && value.trim() !== "" ? Number(value) : value;
  if (typeof count === "number" && Number.isInteger(count) && count >= 0 && count <= maxTokensOfRequest)
    return count;
  throw fault(place, `${field} is ${JSON.stringify(value)}`, "it takes a whole number of tokens");
}

function parseJsonLines(lines: readonly string[], name: string): TraceRequest[] {
  const requests: TraceRequest[] = [];
  for (const [index, line] of lines.entries()) {
    if (line.trim() !== "") requests.push(parseJsonLine(line, { name, line: index + 1 }));
  }
  return requests;
}

function parseJsonLine(line: string, place: Place): TraceRequest {
  const fields = parseObject(line, place);
  const arrivalMs = fields["timestamp"];
  if (typeof arrivalMs !== "number" || !Number.isFinite(arrivalMs)) {
    throw fault(place, `timestamp is ${JSON.stringify(arrivalMs)}`, "it takes milliseconds");
  }
  const { max_tokens: maxTokens } = fields;
  return {
    arrivalMs,
    numPromptTokens: parseCount(fields["input_length"], "input_length", place),
    numOutputTokens: parseCount(fields["output_length"], "output_length", place),
    maxTokens: maxTokens === undefined ? null : parseCount(maxTokens, "max_tokens", place),
    hashIds: parseHashIds(fields["hash_ids"], place),
    scheduling: parseScheduling(fields, place),
  };
}

function parseObject(line: string, place: Place): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw fault(place, `the line is no JSON: ${line.slice(0, 60)}`, "it takes an object", cause);
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return { ...value };
  throw fault(place, `the line is ${line.slice(0, 60)}`, "it takes an object");
}

function parseHashIds(value: unknown, place: Place): readonly number[] {
  if (value === undefined) return [];
  if (Array.isArray(value) && value.every((id): id is number => Number.isSafeInteger(id))) return value;
  throw fault(place, "hash_ids is not a list of whole numbers", "it takes one number per 512 prompt tokens");
}

/** What the fields mean is checked by admission, as in a real request. */
function parseScheduling(
  fields: Readonly<Record<string, unknown>>,
  place: Place,
): RequestScheduling | undefined {
  const { priority, tenant, deadline_ms: deadlineMs } = fields;
  if (priority !== undefined && typeof priority !== "number")
    throw fault(place, `priority is ${JSON.stringify(priority)}`, "it takes a whole number");
  if (tenant !== undefined && typeof tenant !== "string")
    throw fault(place, `tenant is ${JSON.stringify(tenant)}`, "it takes a name");
  if (deadlineMs !== undefined && typeof deadlineMs !== "number")
    throw fault(place, `deadline_ms is ${JSON.stringify(deadlineMs)}`, "it takes milliseconds");
  if (priority === undefined && tenant === undefined && deadlineMs === undefined) return undefined;
  return {
    ...(priority === undefined ? {} : { priority }),
    ...(tenant === undefined ? {} : { tenant }),
    ...(deadlineMs === undefined ? {} : { deadlineMs }),
  };
}

function fault(place: Place, problem: string, allowed: string, cause?: unknown): MillraceError {
  return new MillraceError(
    "invalid_data_file",
    `${place.name}, line ${place.line}: ${problem}; ${allowed}. Correct the line or leave it out.`,
    cause === undefined ? {} : { cause },
  );
}
