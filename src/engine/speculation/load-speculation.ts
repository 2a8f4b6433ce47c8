import { isDeepStrictEqual } from "node:util";
import { MillraceError } from "../../base/errors.ts";
import type { Checkpoint } from "../../formats/checkpoint.ts";
import { openCheckpoint } from "../../formats/open-checkpoint.ts";
import { mapFile } from "../../kernels/map-file.ts";
import type { KvCache, Ops } from "../../kernels/ops.ts";
import { loadModel } from "../../model/load-model.ts";
import { requireArchitecture } from "../../model/registry.ts";
import type { EngineOptions } from "../engine-options.ts";
import type { EngineParts } from "../engine-parts.ts";

/**
 * Opens the draft model that the options name, for the model in `target`; null where they name none.
 *
 * Errors: those of `openCheckpoint`, and `invalid_option` where the draft's vocabulary is another.
 */
export function openDraft(options: EngineOptions, target: Checkpoint): Checkpoint | null {
  const draftPath = options.speculation?.draftPath ?? null;
  if (draftPath === null) return null;
  const draft = openCheckpoint(draftPath, { mapFile, onArchitecture: requireArchitecture });
  try {
    checkSameVocabulary(draft, target);
    return draft;
  } catch (error) {
    draft.close();
    throw error;
  }
}

interface Target {
  readonly ops: Ops;
  readonly cache: KvCache;
  readonly maxModelLen: number;
}

/** What the options ask for in guesses: the draft model with a cache of its own, if they name one. Errors: `loadModel`'s. */
export function loadSpeculation(
  options: EngineOptions,
  draft: Checkpoint | null,
  { ops, cache, maxModelLen }: Target,
): EngineParts["speculation"] {
  const { speculation = null, dtype, activations } = options;
  if (speculation === null) return null;
  const { numTokens, isAdaptive = true } = speculation;
  if (draft === null) return { numTokens, isAdaptive, draft: null };
  const draftLen = Math.min(maxModelLen, draft.config.maxPositionEmbeddings);
  const { model } = loadModel(ops, draft, { dtype, activations, maxModelLen: draftLen });
  const { numBlocks, blockSize } = cache;
  const shape = { ...model.kvShape, numBlocks, blockSize, dtype: cache.dtype };
  return { numTokens, isAdaptive, draft: { model, cache: ops.createKvCache(shape), maxModelLen: draftLen } };
}

/** A token id must mean the same to both. */
function checkSameVocabulary(draft: Checkpoint, target: Checkpoint): void {
  const draftSize = draft.config.vocabSize;
  const targetSize = target.config.vocabSize;
  const isSame = draftSize === targetSize && isDeepStrictEqual(vocabularyOf(draft), vocabularyOf(target));
  if (isSame) return;
  throw new MillraceError(
    "invalid_option",
    `The draft ${draft.path} has another vocabulary (${draftSize} tokens) than ${target.path} (${targetSize}). A draft ` +
      "must have the same tokens under the same ids. Give one of the same family, or use --spec-method ngram.",
    { param: "--spec-model" },
  );
}

/** The tokens and their ids, or null where a model comes without a tokenizer. */
function vocabularyOf(checkpoint: Checkpoint): unknown {
  const model = checkpoint.tokenizer()?.tokenizerJson["model"];
  return typeof model === "object" && model !== null && "vocab" in model ? model.vocab : null;
}
