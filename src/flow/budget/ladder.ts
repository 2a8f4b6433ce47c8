import { isMillraceError, type MillraceError } from "../../base/errors.ts";
import type { Checkpoint, TokenizerSource } from "../../formats/checkpoint.ts";
import { isGgufScheme } from "../../quantize/gguf/gguf-plan.ts";
import { ggufSchemeNames } from "../../quantize/gguf/type-rule.ts";
import type { QuantizePlan } from "../../quantize/plan.ts";
import { resolvePlan } from "../../quantize/resolve-plan.ts";

/** What a search chooses; all else of a plan is the same for all candidates. */
export type Recipe = Pick<
  QuantizePlan,
  "scheme" | "groupSize" | "symmetric" | "head" | "method" | "smooth" | "types"
>;

export interface Candidate {
  /** For people and as a folder's name: "w4a16-g32-head-int8". */
  readonly name: string;
  readonly recipe: Recipe;
  /** Of all tensors, known before any is made. */
  readonly sizeBytes: number;
  /** Candidates that are alike but for their size, so that the larger is the better one. */
  readonly family: string;
}

export interface LadderOptions {
  readonly dtype: QuantizePlan["dtype"];
  /** What files hold in place of the model's own; null for that. */
  readonly tokenizer: TokenizerSource | null;
  readonly ignore: readonly string[];
  /** Whether methods can see what goes into the linears. */
  readonly isCalibrated: boolean;
}

/** What is written: files of one format, or of whichever is best. */
export type LadderFormat = "auto" | "compressed-tensors" | "gguf";

const grids: readonly Pick<Recipe, "scheme" | "groupSize" | "symmetric">[] = [
  { scheme: "w2a16", groupSize: 32 },
  { scheme: "w3a16", groupSize: 64 },
  { scheme: "w3a16", groupSize: 32 },
  { scheme: "w4a16", groupSize: 128 },
  { scheme: "w4a16", groupSize: 64 },
  { scheme: "w4a16", groupSize: 32 },
  { scheme: "w4a16", groupSize: 32, symmetric: false },
  { scheme: "w8a8", groupSize: null },
  { scheme: "w8a16", groupSize: null },
];

/** Everything that is worth trying on a model, smallest first; throws the first refusal where all are refused. */
export function listCandidates(
  checkpoint: Checkpoint,
  { dtype, tokenizer, ignore, isCalibrated, format }: LadderOptions & { readonly format: LadderFormat },
): readonly Candidate[] {
  const found: Candidate[] = [];
  const refusals: MillraceError[] = [];
  for (const choice of choicesOf(format)) {
    const recipe: Recipe = { ...choice, ...bestMethod(isCalibrated) };
    try {
      const plan = { ...recipe, dtype, tokenizer, ignore, outPath: "" };
      const { sizeBytes } = resolvePlan(checkpoint, plan).output;
      found.push({ name: nameOf(recipe), recipe, sizeBytes, family: familyOf(recipe) });
    } catch (error) {
      if (!isRefusal(error, recipe.scheme, format)) throw error;
      refusals.push(error);
    }
  }
  const [refusal] = refusals;
  if (found.length === 0 && refusal !== undefined) throw refusal;
  return found.toSorted((a, b) => a.sizeBytes - b.sizeBytes);
}

function choicesOf(
  format: LadderFormat,
): readonly Pick<Recipe, "scheme" | "groupSize" | "symmetric" | "head">[] {
  const heads = ["int8", "bf16"] as const;
  // Few bits under a whole head lose to more bits under a small one, which other readers of such folders do not have.
  const isWorthwhile = (scheme: Recipe["scheme"], head: Recipe["head"]): boolean =>
    format !== "auto" || head === "int8" || !["w2a16", "w3a16"].includes(scheme);
  const compressed = grids.flatMap((grid) =>
    heads
      .filter((head) => isWorthwhile(grid.scheme, head))
      .map((head) => ({ symmetric: true, ...grid, head })),
  );
  const blocks = ggufSchemeNames.map((scheme) => ({ scheme, groupSize: null }));
  return [...(format === "gguf" ? [] : compressed), ...(format === "compressed-tensors" ? [] : blocks)];
}

/** With a text errors are passed on after size was moved. */
export function bestMethod(isCalibrated: boolean): Pick<Recipe, "method" | "smooth"> {
  return isCalibrated ? { method: "gptq", smooth: true } : { method: "estimate", smooth: false };
}

function nameOf({ scheme, groupSize, symmetric, head }: Recipe): string {
  if (isGgufScheme(scheme)) return scheme;
  const group = groupSize === null ? "" : `-g${groupSize}`;
  return `${scheme}${group}${symmetric === false ? "-asym" : ""}-head-${head}`;
}

/** Types of one kind of blocks; blocks of a table; integers with whole inputs under one kind of head; and what rounds inputs too. */
function familyOf({ scheme, head }: Recipe): string {
  if (scheme === "iq4_nl") return scheme;
  if (isGgufScheme(scheme)) return scheme.includes("_k") ? "k-blocks" : "blocks";
  return scheme === "w8a8" ? scheme : `integers under ${head}`;
}

/** Whether others may do: groups need not divide a model's widths, nor GGUF files hold a model of its family. */
function isRefusal(error: unknown, scheme: Recipe["scheme"], format: LadderFormat): error is MillraceError {
  if (!isMillraceError(error)) return false;
  const isOfFormat = error.code === "unsupported_format" && format === "auto" && isGgufScheme(scheme);
  return error.code === "invalid_scheme" || isOfFormat;
}
