import { z } from "zod";
import { sloTermSchema } from "./slo.ts";

/** The figures of one run at a place on a common axis. */
const gridCellSchema = z.object({
  ttftMs: z.number().nullable(),
  tpotMs: z.number().nullable(),
  e2eMs: z.number().nullable(),
  outputTokensPerSecond: z.number(),
  /** Whether it lies between two measured levels, on a straight line from one to the other. */
  isInterpolated: z.boolean(),
});
export type GridCell = z.infer<typeof gridCellSchema>;

/** All runs at the same load; a run has no cell where its own load did not reach so far. */
const gridRowSchema = z.object({ at: z.number(), cells: z.array(gridCellSchema.nullable()) });
export type GridRow = z.infer<typeof gridRowSchema>;

const gridSchema = z.object({ rows: z.array(gridRowSchema) });

/** How the time between tokens grows with the load, said in three ways, from medians. */
export const degradationSchema = z.object({
  /** Of the least load and of the greatest that is not all at once. */
  first: z.object({ inFlight: z.number(), tpotMs: z.number() }),
  last: z.object({ inFlight: z.number(), tpotMs: z.number() }),
  /** last / first, as the reference has it: at a load of each run's own. */
  ratio: z.number(),
  /** Milliseconds for each further request in flight, between these two. */
  slopeMs: z.number(),
  /** The ratio at the greatest load that all runs reached; null where this one has no figure there. */
  ratioAtEqualLoad: z.number().nullable(),
  /** At each level, against the least load. */
  levels: z.array(z.object({ inFlight: z.number(), tpotMs: z.number(), ratio: z.number() })),
});
export type Degradation = z.infer<typeof degradationSchema>;

/** A level that breaks a bound. */
const violationSchema = z.object({
  level: z.string(),
  inFlight: z.number(),
  bound: z.string(),
  /** Null of the bound on failed requests. */
  valueMs: z.number().nullable(),
  /** Failed requests as a share of all, where these broke the bound. */
  errorShare: z.number().nullable(),
  /** Whether the percentile had too few samples to count. */
  isWeak: z.boolean(),
  /** Whether a level with more load keeps the bound: then it was no question of the load alone. */
  isPassing: z.boolean(),
});

/** Three answers to "how many at once?". */
export const concurrencyFiguresSchema = z.object({
  /** Sequences of a request's full length that the KV cache holds; null where its size is not known. */
  kvCapacity: z.object({ byArithmetic: z.number(), poolTokens: z.number() }).nullable(),
  /** The most in flight at which every bound was kept, there and at every level below; null where none can be judged. */
  withinSlo: z
    .object({
      /** Null where no level below the first that breaks a bound is shown to keep all. */
      inFlight: z.number().nullable(),
      /** Whether the least load breaks a bound already; false too where it could not be judged. */
      isLeastBroken: z.boolean(),
      /** The next level, which breaks one; null where none did: the true limit is not below. */
      brokenAt: z.number().nullable(),
      /** The most in flight at any level that kept every bound, whatever lies below. */
      highestKept: z.number().nullable(),
    })
    .nullable(),
  /** Median in flight of the last level with a rate, as the reference takes it; null without such a level. */
  lastLevel: z.number().nullable(),
});
export type ConcurrencyFigures = z.infer<typeof concurrencyFiguresSchema>;

/** Several runs of load beside each other; every list is in the order of the comparison's variants. */
export const loadComparisonSchema = z.object({
  slo: z.array(sloTermSchema),
  equalConcurrency: gridSchema,
  equalRate: gridSchema,
  /** The load at which `ratioAtEqualLoad` is taken; null where the runs have none in common. */
  equalLoad: z.number().nullable(),
  degradation: z.array(degradationSchema.nullable()),
  concurrency: z.array(concurrencyFiguresSchema),
  violations: z.array(z.array(violationSchema)),
});
export type LoadComparison = z.infer<typeof loadComparisonSchema>;
