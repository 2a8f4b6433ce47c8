import path from "node:path";
import { z } from "zod";
import { type Component, field, type Values } from "../config/component.ts";
import { sourceSettings } from "../config/engine-settings.ts";
import { integer } from "../config/value-schemas.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { createOps } from "../kernels/create-ops.ts";
import { createSolver } from "../kernels/create-solver.ts";
import {
  type CalibrationSize,
  type CalibrationTokens,
  cutCalibration,
  decodeCalibration,
} from "../quantize/calibration/calibration-tokens.ts";
import type { CalibrationTools } from "../quantize/calibration/collect-statistics.ts";
import { openTokenizer } from "./model-source.ts";
import { readText } from "./read-text.ts";

const sizePattern = /^(\d{1,6})x(\d{1,6})$/;

/** "128x512" as 128 sequences of 512 tokens. */
const calibrationSize = z.string().transform((text, context): CalibrationSize => {
  const [, count, length] = (sizePattern.exec(text.trim()) ?? []).map(Number);
  if (count !== undefined && length !== undefined && count >= 2 && length >= 1) return { count, length };
  context.addIssue({
    code: "custom",
    message: "it takes sequences x tokens, at least two sequences, such as 128x512",
  });
  return z.NEVER;
});

export const calibrationSettings = {
  calibration: field(
    "--calibration <file>",
    z.string().optional(),
    "text that imatrix and gptq run the model on, or the token ids of an earlier run (millrace-calibration.json)",
  ),
  calibrationSize: field(
    "--calibration-size <n>x<tokens>",
    calibrationSize.prefault("128x512"),
    "sequences that are cut from the text, spread evenly; one of eight is held out to judge by",
  ),
  threads: field("--threads <n>", integer(0, 1024).default(0), "threads of the kernels (0: one per core)"),
  tokenizer: sourceSettings.tokenizer,
} satisfies Component;

/** Tokens and kernels for the calibrated methods, or null where no file is named. Close the kernels afterwards. */
export function openCalibration(
  checkpoint: Checkpoint,
  { calibration, calibrationSize: size, tokenizer, threads }: Values<typeof calibrationSettings>,
): CalibrationTools | null {
  if (calibration === undefined) return null;
  const tokens = readTokens(checkpoint, calibration, size, tokenizer);
  const { ops } = createOps({ numThreads: threads, backend: "auto" });
  return { tokens, ops, solver: createSolver(ops) };
}

function readTokens(
  checkpoint: Checkpoint,
  file: string,
  size: CalibrationSize,
  tokenizerPath: string | undefined,
): CalibrationTokens {
  if (file.endsWith(".json")) return decodeCalibration(readText(file), file);
  const { tokenizer } = openTokenizer(checkpoint, { tokenizer: tokenizerPath });
  const ids = tokenizer.encode(readText(file), { addSpecialTokens: false });
  return cutCalibration(ids, size, path.basename(file));
}
