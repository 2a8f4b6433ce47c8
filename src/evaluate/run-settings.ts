import { version } from "../base/version.ts";
import type { EvaluationResults } from "../records/evaluation.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import type { EvaluationOptions } from "./evaluate.ts";
import { plainPrompts } from "./prompts/build-prompt.ts";
import { fewshotSeed } from "./prompts/shots.ts";
import { sha256 } from "./sha256.ts";
import type { PerTask } from "./task-settings.ts";

type RunSettings = Pick<
  EvaluationResults,
  | "config"
  | "max_length"
  | "model_source"
  | "model_name"
  | "model_name_sanitized"
  | "system_instruction"
  | "system_instruction_sha"
  | "fewshot_as_multiturn"
  | "chat_template"
  | "chat_template_sha"
>;

/** Signs that lm-eval does not let into the name of a folder. */
const unfit = /["<>:/|\\?*[\]]+/g;

/** What lm-eval's results file says of the model and the settings of a run. */
export function describeSettings(
  options: EvaluationOptions,
  numResamples: number,
): RunSettings & Readonly<Record<string, unknown>> {
  const prompts = options.prompts ?? plainPrompts;
  const { systemInstruction } = prompts;
  const name = options.modelName ?? "unnamed";
  const source = options.modelSource ?? "millrace";
  const template = prompts.isChat ? (options.tokenizer?.chatTemplate?.source ?? null) : null;
  return {
    config: {
      model: source,
      model_args: { ...options.modelArgs },
      batch_size: null,
      batch_sizes: [],
      device: null,
      use_cache: null,
      limit: describeLimits(options.limits),
      bootstrap_iters: numResamples,
      gen_kwargs: options.genKwargs ?? null,
      // Python's, NumPy's and Torch's generators have no part in this; answers are greedy.
      random_seed: null,
      numpy_seed: null,
      torch_seed: null,
      fewshot_seed: fewshotSeed,
    },
    git_hash: null,
    pretty_env_info: "N/A (torch not installed)",
    transformers_version: "N/A",
    lm_eval_version: `N/A (millrace ${version})`,
    upper_git_hash: null,
    ...(options.tokenizer == null ? {} : describeTokens(options.tokenizer)),
    max_length: options.model.maxLength,
    model_source: source,
    model_name: name,
    model_name_sanitized: name.replace(unfit, "__").replace(/^\.+$/, "__"),
    system_instruction: systemInstruction,
    system_instruction_sha: systemInstruction === null ? null : sha256(systemInstruction),
    fewshot_as_multiturn: prompts.hasShotTurns,
    chat_template: template,
    chat_template_sha: template === null ? null : sha256(template),
  };
}

/** Each token as [text, id], both as Python writes them. */
function describeTokens(tokenizer: Tokenizer): Record<string, unknown> {
  const token = (id: number | null | undefined): [string | null, string] =>
    id == null ? [null, "None"] : [tokenizer.tokenText(id), String(id)];
  const [end] = tokenizer.eosTokenIds;
  return {
    tokenizer_pad_token: token(null),
    tokenizer_eos_token: token(end),
    tokenizer_bos_token: token(tokenizer.bosTokenId),
    eot_token_id: end ?? null,
  };
}

function describeLimits(limits: PerTask<number> | undefined): number | string | null {
  if (limits === undefined || limits.byTask.size === 0) return limits?.forAll ?? null;
  const pairs = [...limits.byTask].map(([task, limit]) => `${task}=${limit}`);
  return [...(limits.forAll === null ? [] : [String(limits.forAll)]), ...pairs].join(",");
}
