import { z } from "zod";
import { rateStageSchema, stageSchema, workloadSchema } from "./bench.ts";
import { earlyEndSchema, originSchema } from "./origin.ts";

/** One figure of two servers, B against A. */
export const versusRowSchema = z.object({
  metric: z.enum(["outputTokensPerSecond", "ttftMs", "tpotMs", "e2eMs"]),
  /** Geometric means over the legs. */
  a: z.number(),
  b: z.number(),
  /** B / A with its 95 % interval over rounds; null with fewer than four. */
  ratio: z.number(),
  ratioLow: z.number().nullable(),
  ratioHigh: z.number().nullable(),
  /** How far apart two equal servers would seem here, as a share: 95 %, from legs of the same server. */
  noiseFloor: z.number(),
  numRounds: z.number().int(),
  /** Rounds that find a difference of the size asked for in nine runs of ten. */
  roundsNeeded: z.number().int(),
  /** `equivalent`: the whole interval is within the margin. */
  verdict: z.enum(["better", "worse", "equivalent", "undetermined"]),
});
export type VersusRow = z.infer<typeof versusRowSchema>;

const sideSchema = z.object({ url: z.string(), model: z.string() });

/** Two servers under the same load by turns. */
export const versusRecordSchema = z.object({
  kind: z.literal("versus"),
  origin: originSchema,
  a: sideSchema,
  b: sideSchema,
  /** In words. */
  load: z.string(),
  /** What both were asked with; only the first tokens of a prompt are each side's own. */
  workload: workloadSchema,
  margin: z.number(),
  effect: z.number(),
  /** In the order in which they ran. */
  legs: z.array(
    z.object({
      round: z.number().int(),
      side: z.enum(["a", "b"]),
      stage: z.union([stageSchema, rateStageSchema]),
    }),
  ),
  rows: z.array(versusRowSchema),
  /** Legs that do not count, because the client did not keep up, or requests failed or were cut off; with why. */
  faults: z.array(z.string()),
  /** What ended it before its last round; then `rows` are of the whole rounds before. Null where nothing did. */
  endedEarly: earlyEndSchema.nullable(),
});
export type VersusRecord = z.infer<typeof versusRecordSchema>;
