/** The package's public face: an engine in a worker thread, text over it, and errors with codes. */
export { type ErrorCode, errorCatalogue } from "./base/error-catalogue.ts";
export { MillraceError } from "./base/errors.ts";
export {
  type Completion,
  Engine,
  type TextGeneration,
} from "./embedded-engine.ts";
export { defaultEngineOptions, type EngineOptions } from "./engine/engine-options.ts";
export { startEngineWorker } from "./engine/worker-client.ts";
export { regexFilter } from "./evaluate/filters/regex-filter.ts";
export { scoreAcc, scoreAccAndNorm } from "./evaluate/metrics/choice-scores.ts";
export { createExactMatch, type MatchOptions } from "./evaluate/metrics/exact-match.ts";
export { type MetricDefinition, perplexity, type Scores, share } from "./evaluate/metrics/metric.ts";
export type * from "./evaluate/task.ts";
export { defineTask } from "./evaluate/user-tasks/define-task.ts";
export { openCheckpoint } from "./formats/open-checkpoint.ts";
export type { GrammarSpec, JsonSchema } from "./grammar/grammar-spec.ts";
export type { LoadOptions } from "./load-options.ts";
export type * from "./protocol/engine-client.ts";
export { defaultSampling, type SamplingParams } from "./protocol/sampling-params.ts";
export type { TokenGrammar } from "./protocol/token-mask-channel.ts";
export type { Prompt, ScoreOptions, TextOptions, TokenOptions } from "./request-options.ts";
export { encodeBadWords } from "./text/bad-words.ts";
export { type ChoiceDelta, type ChoiceStream, createChoiceStream } from "./text/choices.ts";
export {
  type PromptLogprobs,
  type PromptTokenLogprobs,
  type ScoreTerms,
  scorePrompt,
  scorePrompts,
} from "./text/prompt-logprobs.ts";
export { createTextStream, type TextStreamRequest, type TextUsage } from "./text/text-generator.ts";
export type { TextDelta } from "./text/text-stream.ts";
export { createTokenizer } from "./tokenizer/create-tokenizer.ts";
export type { ChatMessage, Tokenizer } from "./tokenizer/tokenizer.ts";
