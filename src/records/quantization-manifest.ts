import { z } from "zod";
import { originSchema } from "./origin.ts";

/** Written beside the weights of every model that `millrace quantize` makes. */
export const quantizationManifestName = "millrace-manifest.json";

const fileHash = z.object({ name: z.string(), sizeBytes: z.int().nonnegative(), sha256: z.string() });

/** What was made of what, and how. Times stand only here, so that the weights are the same bytes in every run. */
export const quantizationManifestSchema = z.object({
  kind: z.literal("quantization"),
  formatVersion: z.literal(5),
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
  /** Of the file that was made. */
  format: z.enum(["compressed-tensors", "gguf"]),
  scheme: z.string(),
  method: z.enum(["rtn", "mse", "estimate", "imatrix", "gptq"]),
  /** Whether factors were folded from inputs into weights, or back. */
  isSmoothed: z.boolean(),
  /** The tokens that calibrated methods saw, and what computed with them; null for methods that need none. */
  calibration: z
    .object({
      source: z.string(),
      sha256: z.string(),
      numSequences: z.int(),
      numTokens: z.int(),
      /** Of those, tokens that results were judged by and not made with. */
      numHeldOutTokens: z.int(),
      kernels: z.string(),
    })
    .nullable(),
  weightBits: z.int(),
  /** Columns of one scale; null for one scale per output channel. */
  groupSize: z.int().nullable(),
  /** False: a zero point beside each scale. */
  symmetric: z.boolean(),
  /** The matrix of the head, the embedding where they are tied, its bytes in bf16 and in int8, and what it became. */
  head: z.object({
    module: z.string(),
    bytes: z.int(),
    int8Bytes: z.int(),
    form: z.string(),
  }),
  /** What the file asks of the KV cache of its readers; null for nothing. */
  kvCache: z.enum(["int8"]).nullable(),
  /** Patterns of linears that were to stay dense. */
  ignore: z.array(z.string()),
  scaleRule: z.string(),
  activations: z.enum(["int8-token", "unspecified"]),
  /** What float weights became before rounding; "auto": they were taken as stored. */
  dtype: z.enum(["auto", "float32", "bfloat16", "float16"]),
  /** Quantised linears. */
  tensors: z.array(
    z.object({
      name: z.string(),
      shape: z.array(z.int()),
      /** For people: "int4 g32". */
      form: z.string(),
      /** The root of (sum of squared errors / sum of squared weights). */
      relativeError: z.number(),
      /**
       * The same of outputs on held-out calibration tokens, and rows by the method that did best there; null where none
       * were held out for the linear.
       */
      outcome: z.object({ outputError: z.number(), rows: z.record(z.string(), z.number()) }).nullable(),
      /** SHA-256 over `rowChecksums` of the values that the integers stand for, as f32 without a sign of zeros. */
      valuesChecksum: z.string(),
    }),
  ),
  /** Matrices that stayed floats: bf16 in compressed-tensors, and in GGUF what the scheme says. */
  dense: z.array(z.object({ name: z.string(), shape: z.array(z.int()) })),
  sizeBytes: z.int().nonnegative(),
  /** The weights, then all that stands beside them but the manifest. */
  files: z.array(fileHash),
  notes: z.array(z.string()),
});

export type QuantizationManifest = z.infer<typeof quantizationManifestSchema>;
