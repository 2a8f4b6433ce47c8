import { z } from "zod";
import { rateStageSchema, stageSchema } from "./bench.ts";
import { earlyEndSchema, originSchema } from "./origin.ts";

/**
 * Whether a stage meets a target; `undetermined` where its interval holds the limit, the samples are too few, or requests that
 * were cut off may have missed it.
 */
const verdictSchema = z.enum(["met", "missed", "undetermined"]);
export type SloVerdict = z.infer<typeof verdictSchema>;

/** What a probe showed; `client limit` where the client did not keep up with its own load, so that nothing was. */
const probeVerdictSchema = z.enum([...verdictSchema.options, "client limit"]);
export type ProbeVerdict = z.infer<typeof probeVerdictSchema>;

/** One target and what a stage has there. */
export const sloResultSchema = z.object({
  /** As it was asked for, such as `ttft_p90<=500ms`. */
  target: z.string(),
  /** In the target's unit: milliseconds, or a share of requests; null where the stage has no such figure. */
  value: z.number().nullable(),
  limit: z.number(),
  verdict: verdictSchema,
});
export type SloResult = z.infer<typeof sloResultSchema>;

/** The highest load that meets every target. */
export const sloSearchRecordSchema = z.object({
  kind: z.literal("slo-search"),
  origin: originSchema,
  url: z.string(),
  model: z.string(),
  slo: z.string(),
  variable: z.enum(["concurrency", "rate"]),
  /** Null where nothing that was tried meets them, or is shown to. */
  best: z.number().nullable(),
  /** The lowest load that was seen to miss them, or was not shown to meet them; null where none was. */
  missedAt: z.number().nullable(),
  /** The lowest load above the best that the client did not keep up with; null where it always did. */
  clientLimitAt: z.number().nullable(),
  stopped: z.enum([
    "converged",
    "most probes",
    "highest load",
    "nothing meets it",
    "not shown",
    "client limit",
    ...earlyEndSchema.options,
  ]),
  /** Whether the best was met again at the end. */
  isConfirmed: z.boolean(),
  /** Whether no load above a missed one met the targets. */
  isMonotone: z.boolean(),
  /** In the order in which they ran. */
  probes: z.array(
    z.object({
      load: z.number(),
      results: z.array(sloResultSchema),
      verdict: probeVerdictSchema,
      stage: z.union([stageSchema, rateStageSchema]),
    }),
  ),
});
export type SloSearchRecord = z.infer<typeof sloSearchRecordSchema>;
