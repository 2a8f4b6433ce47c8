import { z } from "zod";
import { originSchema } from "./origin.ts";

/** A measured number. JSON has null where it is NaN, as the KL of a model whose logits are not finite. */
const measured = z
  .number()
  .nullable()
  .transform((value) => value ?? Number.NaN);

/** What is measured of a candidate. */
export const budgetFiguresSchema = z.object({
  /** Of all tensors. */
  sizeBytes: z.int(),
  /** Mean KL(float‖candidate) of a token, in nats, and its standard error. */
  kl: measured,
  klError: z.number().nullable(),
  topAgreement: measured,
  perplexityRatio: measured,
  /** Output tokens a second of all requests together, by requests in flight. */
  tokensPerSecond: z.record(z.string(), z.number()),
  /** Candidate over float model, one request in flight; null where no limit asked for it. */
  speedup: z.number().nullable(),
  /** Highest resident bytes of the server under load; null where it is not known. */
  peakMemoryBytes: z.number().nullable(),
  /** By task: the candidate's metric over the float model's. */
  recovery: z.record(z.string(), measured),
});
export type BudgetFigures = z.infer<typeof budgetFiguresSchema>;

/** A candidate and what came of it. */
export const budgetTrialSchema = z.object({
  name: z.string(),
  figures: budgetFiguresSchema,
  /** Conditions of the budget that it breaks, as given. */
  broken: z.array(z.string()),
});
export type BudgetTrial = z.infer<typeof budgetTrialSchema>;

/** A search for the smallest model within a budget. */
export const budgetSearchSchema = z.object({
  kind: z.literal("budget-search"),
  model: z.string(),
  budget: z.array(z.string()),
  /** Name and sha256 of the text that quality was measured on, and predicted tokens. */
  text: z.object({ file: z.string(), sha256: z.string(), numTokens: z.int() }),
  /** All that were measured, smallest first. */
  trials: z.array(budgetTrialSchema),
  /** Name of the candidate that was taken; null where none fits. */
  chosen: z.string().nullable(),
  origin: originSchema,
});
export type BudgetSearch = z.infer<typeof budgetSearchSchema>;
