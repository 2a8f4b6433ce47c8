import { createHash } from "node:crypto";
import { z } from "zod";
import { MillraceError } from "../../base/errors.ts";

/** Token ids that a model is run on to see what goes into its linears. */
export interface CalibrationTokens {
  /** Where they come from, for people. */
  readonly source: string;
  readonly sequences: readonly Int32Array[];
  /** Of the ids and of where each sequence ends. */
  readonly sha256: string;
}

/** Ids of a text cut into sequences: `count` of `length` tokens, spread evenly from its start to its end. */
export interface CalibrationSize {
  readonly count: number;
  readonly length: number;
}

/** The file of ids that is written beside a model. */
export const calibrationFileName = "millrace-calibration.json";

/** As kernels take it: int32. */
const tokenId = z.int32().nonnegative();

const fileSchema = z.object({
  kind: z.literal("calibration-tokens"),
  formatVersion: z.literal(1),
  source: z.string(),
  sequences: z.array(z.array(tokenId).min(1)).min(2),
});

/** Throws `invalid_data_file` for a text of fewer than two sequences. */
export function cutCalibration(
  ids: readonly number[],
  { count, length }: CalibrationSize,
  source: string,
): CalibrationTokens {
  const most = Math.min(count, Math.floor(ids.length / length));
  if (most < 2) {
    throw new MillraceError(
      "invalid_data_file",
      `${source} has ${ids.length} tokens; calibration takes at least two sequences of ${length}. Give a longer text, or shorter sequences with --calibration-size.`,
      { param: "--calibration" },
    );
  }
  const sequences = Array.from({ length: most }, (_, index) => {
    const start = Math.floor((index * (ids.length - length)) / (most - 1));
    return Int32Array.from(ids.slice(start, start + length));
  });
  return { source, sequences, sha256: hashOf(sequences) };
}

/**
 * Whole sequences, spread evenly over those that are given, each cut to `length` tokens. Throws `invalid_data_file` for
 * fewer than two.
 */
export function pickCalibration(
  given: readonly (readonly number[])[],
  { count, length }: CalibrationSize,
  source: string,
): CalibrationTokens {
  const most = Math.min(count, given.length);
  if (most < 2) {
    throw new MillraceError(
      "invalid_data_file",
      `${source} has ${given.length} sequences; calibration takes at least two. Give more of them.`,
      { param: "--calibration" },
    );
  }
  const sequences = Array.from({ length: most }, (_, index) => {
    const ids = given[Math.floor((index * (given.length - 1)) / (most - 1))]!;
    return Int32Array.from(ids.slice(0, length));
  });
  return { source, sequences, sha256: hashOf(sequences) };
}

/** Tokens of the longest sequence; as a fold, since there may be more sequences than a call takes arguments. */
export function longestSequence({ sequences }: CalibrationTokens): number {
  return sequences.reduce((most, { length }) => Math.max(most, length), 0);
}

/** The text of a file of token ids. */
export function encodeCalibration({ source, sequences }: CalibrationTokens): string {
  const lists = sequences.map((sequence) => JSON.stringify([...sequence]));
  return `{"kind":"calibration-tokens","formatVersion":1,"source":${JSON.stringify(source)},"sequences":[\n${lists.join(",\n")}\n]}\n`;
}

/** Reads a file of token ids. Throws `invalid_data_file`. */
export function decodeCalibration(text: string, name: string): CalibrationTokens {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw invalid(name, "is not JSON", error);
  }
  const parsed = fileSchema.safeParse(json);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw invalid(name, `is wrong at ${issue?.path.join(".") ?? "its start"}: ${issue?.message ?? ""}`);
  }
  const sequences = parsed.data.sequences.map((ids) => Int32Array.from(ids));
  return { source: parsed.data.source, sequences, sha256: hashOf(sequences) };
}

/** Throws `invalid_data_file` for ids outside the vocabulary, and for sequences longer than the model takes. */
export function checkCalibration(
  { source, sequences }: CalibrationTokens,
  {
    vocabSize,
    maxPositionEmbeddings,
  }: { readonly vocabSize: number; readonly maxPositionEmbeddings: number },
): void {
  for (const [index, sequence] of sequences.entries()) {
    const wrong = sequence.find((id) => id < 0 || id >= vocabSize);
    if (wrong !== undefined)
      throw invalid(source, `has token ${wrong} in sequence ${index}; the model has ${vocabSize} tokens`);
    if (sequence.length > maxPositionEmbeddings) {
      throw sequenceTooLong(`${source} has`, sequence.length, maxPositionEmbeddings);
    }
  }
}

/** The error `invalid_data_file` for sequences that the model does not take; `who` begins the sentence. */
export function sequenceTooLong(who: string, length: number, most: number): MillraceError {
  return new MillraceError(
    "invalid_data_file",
    `${who} a sequence of ${length} tokens; the model takes ${most} at most. Give shorter ones: --calibration-size sets their length where they are cut from a text or written by the model.`,
    { param: "--calibration-size" },
  );
}

function hashOf(sequences: readonly Int32Array[]): string {
  const hash = createHash("sha256");
  for (const sequence of sequences) {
    hash.update(Int32Array.of(sequence.length));
    hash.update(sequence);
  }
  return hash.digest("hex");
}

function invalid(name: string, problem: string, cause?: unknown): MillraceError {
  return new MillraceError(
    "invalid_data_file",
    `${name} ${problem}. Calibration takes a text, or a file of token ids that an earlier run wrote (millrace-calibration.json). Correct it or give another.`,
    cause === undefined ? { param: "--calibration" } : { param: "--calibration", cause },
  );
}
