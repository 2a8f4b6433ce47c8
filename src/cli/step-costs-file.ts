import { readFileSync } from "node:fs";
import { z } from "zod";
import { MillraceError, messageOf } from "../base/errors.ts";
import { addToShape, emptyShape, stepMs } from "../engine/simulator/step-cost-model.ts";

const cost = z.number().min(0);
const count = z.number().int().min(1);

/** Pieces of a cost; each begins where the one before ends. */
const pieces = z
  .array(z.object({ above: z.number().min(0), perUnitMs: cost }))
  .min(1)
  .refine((list) => list.every(({ above }, index) => index === 0 || above > list[index - 1]!.above), {
    message: "pieces must begin one above the other",
  })
  .readonly();

/** What a calibration found: costs of steps, and the sizes that a simulation of the same model needs. */
const stepCostsSchema = z.object({
  kind: z.literal("step-costs"),
  version: z.literal(1),
  model: z.string(),
  /** How and on what the times were measured, for people: the costs hold for nothing else. */
  measured: z.string(),
  maxModelLen: count,
  blockSize: count,
  /** K and V of all layers of one block; null where it is not known, as from a load test. */
  blockBytes: count.nullable(),
  /** Blocks of the KV cache that was measured. */
  numKvBlocks: count,
  costs: z.object({
    fixedMs: cost,
    tokens: pieces,
    perSequenceMs: cost,
    context: pieces,
    perPrefillPairMs: cost,
    requestMs: cost,
  }),
  /** Of the fit on its own steps: mean and largest |predicted − measured| / measured. */
  meanError: cost,
  maxError: cost,
  /** What the costs were fitted to. */
  steps: z.array(
    z.object({
      shape: z.object({
        numPrefillTokens: z.number(),
        numSequences: z.number(),
        numContextTokens: z.number(),
        numPrefillPairs: z.number(),
      }),
      timeMs: z.number(),
      isRequest: z.boolean(),
    }),
  ),
});
export type StepCostsFile = z.infer<typeof stepCostsSchema>;

/** Reads what `--out` wrote. Errors: `file_not_found`, `invalid_data_file`. */
export function readStepCosts(file: string): StepCostsFile {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (cause) {
    throw new MillraceError(
      "file_not_found",
      `${file} cannot be read: ${messageOf(cause)}. Make it with millrace simulate --calibrate MODEL --out ${file}.`,
      { param: "--costs", cause },
    );
  }
  const parsed = stepCostsSchema.safeParse(parseJson(text));
  const problem = parsed.success ? faultOf(parsed.data) : textOf(parsed.error.issues[0]!);
  if (problem === null) return parsed.data!;
  throw new MillraceError(
    "invalid_data_file",
    `${file} holds no step costs of this version (${problem}). Make it anew with millrace simulate --calibrate MODEL --out ${file}.`,
    { param: "--costs" },
  );
}

/** Undefined for what is no JSON. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function textOf({ path, message }: z.core.$ZodIssue): string {
  return path.length === 0 ? message : `${path.join(".")}: ${message}`;
}

/** Time must go on in every step. */
function faultOf({ costs }: StepCostsFile): string | null {
  const smallest = emptyShape();
  addToShape(smallest, 0, 1, 1);
  return stepMs(costs, smallest) > 0 ? null : "a step of one token costs nothing";
}
