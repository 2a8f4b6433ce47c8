import type { EngineOptions } from "../../src/engine/engine-options.ts";
import { nativeStatus } from "../../src/kernels/create-ops.ts";
import { repositoryPath, testData } from "../test-data.ts";
import type { Row } from "./covering-array.ts";
import { lawContext } from "./law-requests.ts";

/** A model that the law is checked on. */
export interface LawModel {
  readonly name: string;
  readonly path: string;
  /** Null: guesses come from the text only. */
  readonly draftPath: string | null;
  /** Most output tokens of a usual request. */
  readonly maxTokens: number;
}

export const pebble: LawModel = {
  name: "pebble",
  path: repositoryPath("models", "pebble", "model"),
  draftPath: repositoryPath("models", "pebble", "draft"),
  maxTokens: 16,
};

export const smollm2: LawModel = {
  name: "SmolLM2-135M",
  path: testData("models", "smollm2-135m-instruct-q4_1.gguf"),
  draftPath: null,
  maxTokens: 6,
};

/** Everything that must not change an answer, and the values that are tried. */
const dimensions = {
  /** Most sequences in one step. */
  batch: [2, 8, 64],
  /** Most tokens of one prompt in one step; 0: all. */
  chunk: [1, 7, 64, 0],
  prefix: ["off", "cold", "warm", "partial"],
  memory: ["roomy", "swap", "recompute"],
  threads: [1, 2],
} as const;

/** Instruction sets that this machine can run; where there are no native kernels, the backend that there is. */
const { available, isas: nativeIsas } = nativeStatus();
export const isas: readonly string[] = available ? nativeIsas : ["auto"];

const guesses = { speculation: ["off", "ngram", "draft"] } as const;
const kvDtypes = ["f16", "f32", "bf16", "int8"] as const;
const attentionDtypes = ["f32", "bf16"] as const;

export type LawDimensions = typeof dimensions &
  typeof guesses & {
    readonly isa: readonly string[];
    readonly kvDtype: typeof kvDtypes;
    readonly attentionDtype: typeof attentionDtypes;
  };
export type LawSetting = Row<LawDimensions>;
/** What is part of the answer: a request is compared with itself under the same. */
export type LawArithmetic = Pick<LawSetting, "isa" | "kvDtype" | "attentionDtype">;

export function lawDimensions(model: LawModel): LawDimensions {
  const speculation = model.draftPath === null ? guesses.speculation.slice(0, 2) : guesses.speculation;
  const arithmetic = { isa: isas, kvDtype: kvDtypes, attentionDtype: attentionDtypes };
  return { ...arithmetic, speculation, ...dimensions } as unknown as LawDimensions;
}

export const blockSize = 16;
const maxDrafts = 3;
/** Fewer blocks than what runs together comes to need, and at least one longest context. */
const scarceBlocks: Readonly<Record<number, number>> = { 2: 19, 8: 24, 64: 26 };

/** The plainest way to run a request: one at a time, nothing shared, nothing guessed, one thread. */
export function plainOptions(
  model: LawModel,
  { isa, kvDtype, attentionDtype }: LawArithmetic,
): EngineOptions {
  return {
    modelPath: model.path,
    dtype: "auto",
    activations: "auto",
    kvCacheDtype: kvDtype,
    attentionDtype,
    maxModelLen: lawContext,
    maxNumSeqs: 1,
    maxNumBatchedTokens: 512,
    longPrefillTokenThreshold: 0,
    kvCacheMemoryBytes: null,
    numThreads: 1,
    backend: "auto",
    isa,
    seed: 1,
    maxNumQueuedRequests: 256,
    enablePrefixCaching: false,
    blockSize,
    numKvBlocks: lawContext / blockSize,
  };
}

export function optionsFor(model: LawModel, setting: LawSetting): EngineOptions {
  const { batch, chunk, prefix, memory, speculation, threads } = setting;
  return {
    ...plainOptions(model, setting),
    maxNumSeqs: batch,
    // The step's own budget cuts prompts too: that is how 64 are reached.
    maxNumBatchedTokens: chunk === 64 ? 64 : 2048,
    longPrefillTokenThreshold: chunk === 64 ? 0 : chunk,
    numThreads: threads,
    enablePrefixCaching: prefix !== "off",
    numKvBlocks: memory === "roomy" ? 320 : scarceBlocks[batch]!,
    swapSpaceBytes: memory === "swap" ? 32 * 1024 * 1024 : 0,
    speculation:
      speculation === "off"
        ? null
        : {
            numTokens: maxDrafts,
            draftPath: speculation === "draft" ? model.draftPath : null,
            // Which guesses pay depends on the machine, so they are made whether they pay or not.
            isAdaptive: false,
          },
  };
}

/** As words, for messages and test names. */
export function describeSetting(setting: LawSetting): string {
  const { batch, chunk, prefix, memory, speculation, threads, kvDtype, attentionDtype, isa } = setting;
  return (
    `${isa}, batch ${batch}, chunks ${chunk === 0 ? "whole" : `of ${chunk}`}, prefix ${prefix}, memory ${memory}, ` +
    `guesses ${speculation}, ${threads} thread${threads === 1 ? "" : "s"}, KV ${kvDtype}, attention ${attentionDtype}`
  );
}
