import { z } from "zod";
import { type Component, field, type Values } from "../config/component.ts";
import { sourceSettings } from "../config/engine-settings.ts";
import { integer } from "../config/value-schemas.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { createOps } from "../kernels/create-ops.ts";
import { createSolver } from "../kernels/create-solver.ts";
import type { CalibrationSize } from "../quantize/calibration/calibration-tokens.ts";
import type { CalibrationTools } from "../quantize/calibration/collect-statistics.ts";
import { readCalibration } from "./calibration-sequences.ts";

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
    "--calibration <source>",
    z.string().optional(),
    "what imatrix and gptq run the model on: a text, conversations (.jsonl with messages), token ids of an earlier run (millrace-calibration.json), or self for what the model writes",
  ),
  calibrationSize: field(
    "--calibration-size <n>x<tokens>",
    calibrationSize.prefault("128x512"),
    "sequences that are taken of it, spread evenly; one of eight is held out to judge by",
  ),
  threads: field("--threads <n>", integer(0, 1024).default(0), "threads of the kernels (0: one per core)"),
  tokenizer: sourceSettings.tokenizer,
} satisfies Component;

/** Tokens and kernels for the calibrated methods, or null where nothing is named. Close the kernels afterwards. */
export async function openCalibration(
  checkpoint: Checkpoint,
  { calibration, calibrationSize: size, tokenizer, threads }: Values<typeof calibrationSettings>,
): Promise<CalibrationTools | null> {
  if (calibration === undefined) return null;
  const tokens = await readCalibration(checkpoint, { source: calibration, size, tokenizer });
  const { ops } = createOps({ numThreads: threads, backend: "auto" });
  return { tokens, ops, solver: createSolver(ops) };
}
