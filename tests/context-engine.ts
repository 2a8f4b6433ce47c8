import type { AdmissionSettings } from "../src/engine/admission-control.ts";
import { EngineLoop } from "../src/engine/engine-loop.ts";
import type { EngineParts } from "../src/engine/engine-parts.ts";
import { createInProcessClient } from "../src/engine/in-process-client.ts";
import type { VictimPolicyName } from "../src/engine/victim-policy.ts";
import type { EngineClient, EngineInfo, EngineOutput } from "../src/protocol/engine-client.ts";
import { defaultSampling, type SamplingParams } from "../src/protocol/sampling-params.ts";
import { type ContextModel, contextLogits, createContextModel } from "./context-model.ts";

export const vocabSize = 17;
export const eos = 0;
const maxModelLen = 64;

export interface Setup {
  readonly numBlocks?: number;
  readonly maxNumSeqs?: number;
  readonly maxNumBatchedTokens?: number;
  readonly longPrefillTokenThreshold?: number;
  readonly admission?: Partial<AdmissionSettings>;
  readonly victims?: VictimPolicyName;
  readonly isPrefixCaching?: boolean;
  readonly speculation?: "ngram" | "draft";
  /** Guesses in every step, whether they pay or not; default true: what pays here depends on the machine. */
  readonly isGuessingAlways?: boolean;
  readonly maxDrafts?: number;
  /** Longest context of the draft model; default the model's. */
  readonly maxDraftLen?: number;
  /** Computes what the prefix cache knows anew and compares. */
  readonly isPrefixChecking?: boolean;
}

export interface Bench {
  readonly client: EngineClient;
  readonly engine: EngineLoop;
  readonly context: ContextModel;
}

/** An engine over the context model, in process. */
export function startContextEngine(setup: Setup = {}): Bench {
  const context = createContextModel({ vocabSize, numBlocks: setup.numBlocks ?? 64, blockSize: 4 });
  const engine = engineOver(context, setup, setup.speculation === "draft" ? context.draft : null);
  return { client: createInProcessClient(engine), engine, context };
}

/** An engine over a model and its backend that the test can reach. */
export function engineOver(
  { ops, model, cache }: Pick<EngineParts, "ops" | "model" | "cache">,
  setup: Omit<Setup, "numBlocks">,
  draft: ContextModel["draft"] | null = null,
): EngineLoop {
  const { maxNumSeqs = 8, maxNumBatchedTokens = 64 } = setup;
  const info: EngineInfo = {
    architecture: "ContextModel",
    embeddingSize: null,
    vocabSize: model.vocabSize,
    maxModelLen,
    maxPositions: 128,
    maxNumSeqs,
    maxNumBatchedTokens,
    maxNumQueuedRequests: setup.admission?.maxNumQueuedRequests ?? 1000,
    maxNumQueuedTokens: setup.admission?.maxNumQueuedTokens ?? 0,
    numTotalBlocks: cache.numBlocks,
    blockSize: cache.blockSize,
    kvDtype: cache.dtype,
    backend: "fake",
    isa: "scalar",
    attentionDtype: "f32",
    numThreads: 1,
    activations: "f32",
    dtype: "float32",
    eosTokenIds: [eos],
    memory: { weights: 0, kvCache: 0, arena: 0 },
    loadTimesMs: {},
    notes: [],
  };
  return new EngineLoop({
    ops,
    model,
    cache,
    info,
    host: null,
    longPrefillTokenThreshold: setup.longPrefillTokenThreshold ?? 0,
    admission: {
      schedulingPolicy: "fcfs",
      tenantWeights: new Map(),
      usesPriority: false,
      maxNumSeqs,
      maxNumBatchedTokens,
      maxNumQueuedRequests: 1000,
      maxNumQueuedTokens: 0,
      maxNumQueuedRequestsPerTenant: 0,
      ...setup.admission,
    },
    victims: setup.victims ?? "lifo",
    isPrefixCaching: setup.isPrefixCaching ?? true,
    isPrefixChecking: setup.isPrefixChecking ?? false,
    speculation: speculationOf(setup, draft),
    seed: 7,
  });
}

function speculationOf(setup: Setup, model: ContextModel["draft"] | null): EngineParts["speculation"] {
  const { speculation, isGuessingAlways = true, maxDrafts = 3, maxDraftLen = maxModelLen } = setup;
  if (speculation === undefined) return null;
  const draft = model === null ? null : { ...model, maxModelLen: maxDraftLen };
  return { numTokens: maxDrafts, isAdaptive: !isGuessingAlways, draft };
}

let nextId = 0;

export async function generate(
  client: EngineClient,
  promptTokenIds: number[],
  sampling: Partial<SamplingParams> = {},
  requestId = `r${nextId++}`,
): Promise<EngineOutput[]> {
  const outputs: EngineOutput[] = [];
  const request = {
    requestId,
    promptTokenIds,
    sampling: { ...defaultSampling, temperature: 0, ignoreEos: true, ...sampling },
  };
  for await (const output of client.generate(request)) outputs.push(output);
  return outputs;
}

export const idsOf = (outputs: EngineOutput[]): number[] => outputs.flatMap((o) => [...o.newTokenIds]);

/** What greedy decoding must give, from the plain token list. */
export function greedy(prompt: number[], numTokens: number): number[] {
  const tokens = [...prompt];
  for (let step = 0; step < numTokens; step += 1) {
    const logits = contextLogits(tokens, vocabSize);
    tokens.push(logits.indexOf(Math.max(...logits)));
  }
  return tokens.slice(prompt.length);
}

export const prompts = Array.from({ length: 8 }, (_, i) =>
  Array.from({ length: 3 + 5 * i }, (_, j) => (i * 5 + j * 3) % vocabSize),
);
