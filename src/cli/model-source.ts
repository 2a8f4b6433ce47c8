import { readFileSync } from "node:fs";
import { MillraceError, systemReasonOf } from "../base/errors.ts";
import type { EngineSettings } from "../config/engine-settings.ts";
import { checkEngineOptions } from "../engine/check-options.ts";
import type { SpeculationOptions } from "../engine/engine-options.ts";
import type { EngineOptions } from "../engine/load-engine.ts";
import { defaultVictims } from "../engine/victim-policy.ts";
import type { Checkpoint, TokenizerSource } from "../formats/checkpoint.ts";
import { openCheckpoint } from "../formats/open-checkpoint.ts";
import { loadTokenizerSource } from "../formats/tokenizer-source.ts";
import { mapFile } from "../kernels/map-file.ts";
import { requireArchitecture } from "../model/registry.ts";
import { createTokenizer } from "../tokenizer/create-tokenizer.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { checkChatTemplate } from "./chat-template.ts";

/** Opens a model; one that cannot be run here is refused by the name of its architecture, unless the caller decides. */
export function openModel(modelPath: string, onArchitecture = requireArchitecture): Checkpoint {
  return openCheckpoint(modelPath, { mapFile, onArchitecture });
}

/** The tokenizer of a model, or the one given with --tokenizer; with --chat-template in place of its own. */
export function openTokenizer(
  checkpoint: Checkpoint,
  given: { readonly tokenizer?: string | undefined; readonly chatTemplate?: string | undefined },
): { readonly tokenizer: Tokenizer; readonly source: TokenizerSource } {
  const found = given.tokenizer === undefined ? checkpoint.tokenizer() : loadTokenizerSource(given.tokenizer);
  if (found === null) {
    throw new MillraceError(
      "no_tokenizer",
      `${checkpoint.path} has no tokenizer and this command needs text. Give one with --tokenizer: a folder, a tokenizer.json or a GGUF file.`,
      { param: "--tokenizer" },
    );
  }
  const { chatTemplate } = given;
  const source = chatTemplate === undefined ? found : { ...found, chatTemplate: readText(chatTemplate) };
  const tokenizer = createTokenizer(source);
  if (chatTemplate !== undefined && tokenizer.chatTemplate !== null) {
    checkChatTemplate(tokenizer.chatTemplate, chatTemplate);
  }
  return { tokenizer, source };
}

/** Reads a text file that a flag names. */
export function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new MillraceError(
      "file_not_found",
      `${file} cannot be read: ${systemReasonOf(error)}. A readable text file is needed; check the path and its permissions.`,
      {
        cause: error,
      },
    );
  }
}

/** Errors: those of `checkEngineOptions`, and `invalid_option` for flags of speculation that do not go together. */
export function engineOptionsOf(modelPath: string, settings: EngineSettings): EngineOptions {
  const options: EngineOptions = {
    modelPath,
    dtype: settings.dtype,
    activations: settings.activations,
    backend: settings.backend,
    isa: settings.isa,
    attentionDtype: settings.attentionDtype,
    numThreads: settings.threads,
    maxModelLen: settings.maxModelLen ?? null,
    maxNumSeqs: settings.maxNumSeqs,
    maxNumBatchedTokens: settings.maxNumBatchedTokens,
    longPrefillTokenThreshold: settings.longPrefillTokenThreshold,
    kvCacheDtype: settings.kvCacheDtype,
    kvCacheMemoryBytes: settings.kvCacheMemory ?? null,
    memoryUtilization: settings.memoryUtilization ?? null,
    swapSpaceBytes: settings.swapSpace ?? 0,
    maxNumQueuedRequests: settings.maxNumQueuedReqs,
    maxNumQueuedTokens: settings.maxNumQueuedTokens ?? 0,
    maxNumQueuedRequestsPerTenant: settings.maxNumQueuedReqsPerTenant ?? 0,
    schedulingPolicy: settings.schedulingPolicy,
    tenantWeights: settings.tenantWeight ?? new Map<string, number>(),
    preemptionVictim: settings.preemptionVictim ?? defaultVictims(settings.schedulingPolicy),
    enablePrefixCaching: settings.enablePrefixCaching === "on",
    checkPrefixCache: settings.checkPrefixCache,
    blockSize: settings.blockSize,
    speculation: speculationOf(settings),
    seed: settings.seed,
  };
  checkEngineOptions(options);
  return options;
}

/** Most guesses per sequence and step where nobody says a number. */
const defaultSpecTokens = 4;

function speculationOf(settings: EngineSettings): SpeculationOptions | null {
  const { specMethod: method, specModel, specTokens } = settings;
  if ((method === "draft") !== (specModel !== undefined)) {
    throw new MillraceError(
      "invalid_option",
      `--spec-method is ${method ?? "not given"} and --spec-model is ${specModel ?? "not given"}; draft takes a model and ` +
        "nothing else does. Give --spec-method draft --spec-model PATH, or leave out --spec-model.",
      { param: "--spec-model" },
    );
  }
  if (method === undefined && specTokens !== undefined) {
    throw new MillraceError(
      "invalid_option",
      `--spec-tokens is ${specTokens}, but without --spec-method nothing is guessed. Give --spec-method ngram or draft, or ` +
        "leave --spec-tokens out.",
      { param: "--spec-tokens" },
    );
  }
  return method === undefined
    ? null
    : { numTokens: specTokens ?? defaultSpecTokens, draftPath: specModel ?? null };
}
