import { z } from "zod";
import { originSchema } from "./origin.ts";

/** Written beside the weights of every model that `millrace quantize` makes. */
export const quantizationManifestName = "millrace-manifest.json";

const fileHash = z.object({ name: z.string(), sizeBytes: z.int().nonnegative(), sha256: z.string() });

/** What was made of what, and how. Times stand only here, so that the weights are the same bytes in every run. */
export const quantizationManifestSchema = z.object({
  kind: z.literal("quantization"),
  formatVersion: z.literal(1),
  origin: originSchema,
  source: z.object({
    /** For people, as serving and reports call it. */
    name: z.string(),
    format: z.string(),
    weightFormat: z.string(),
    sizeBytes: z.int().nonnegative(),
    /** Of config.json as it was understood, keys sorted. */
    configSha256: z.string(),
    files: z.array(fileHash),
  }),
  scheme: z.string(),
  method: z.literal("rtn"),
  weightBits: z.int(),
  /** Columns of one scale; null for one scale per output channel. */
  groupSize: z.int().nullable(),
  scaleRule: z.string(),
  activations: z.enum(["int8-token", "unspecified"]),
  /** What float weights became before rounding; "auto": they were taken as stored. */
  dtype: z.enum(["auto", "float32", "bfloat16", "float16"]),
  /** Quantised linears, with the root of (sum of squared errors / sum of squared weights). */
  tensors: z.array(z.object({ name: z.string(), shape: z.array(z.int()), relativeError: z.number() })),
  /** Matrices that stayed dense, in bf16. */
  dense: z.array(z.object({ name: z.string(), shape: z.array(z.int()) })),
  sizeBytes: z.int().nonnegative(),
  files: z.array(fileHash),
  notes: z.array(z.string()),
});

export type QuantizationManifest = z.infer<typeof quantizationManifestSchema>;
