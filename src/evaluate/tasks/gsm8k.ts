import type { FilterPipeline } from "../filters/filter.ts";
import { regexFilter } from "../filters/regex-filter.ts";
import { createExactMatch, exactMatch } from "../metrics/exact-match.ts";
import { readTexts } from "../row-reader.ts";
import type { GenerationTask, Shot, TaskFiles } from "../task.ts";
import { gsm8kChains } from "./gsm8k-chains.ts";

const files: TaskFiles = {
  root: "data",
  hub: { repo: "openai/gsm8k", config: "main" },
  splits: { test: ["gsm8k/test.jsonl"], train: ["gsm8k/train.jsonl"] },
  defaultSplit: "test",
};

const flexible: FilterPipeline = {
  name: "flexible-extract",
  steps: [regexFilter("(-?[$0-9.,]{2,})|(-?[0-9]+)", -1)],
};
const strict = (pattern: string, match: 0 | -1 = 0): FilterPipeline => ({
  name: "strict-match",
  steps: [regexFilter(pattern, match)],
});

const isSameNumber = createExactMatch({
  ignoredPatterns: [",", "\\$", "(?s).*#### ", "\\.$"],
  ignoresCase: true,
});

const common = {
  kind: "generate_until",
  version: 3,
  files,
  metrics: [exactMatch],
  score: ({ answer }, written) => ({ exact_match: isSameNumber(written, answer) }),
} as const satisfies Partial<GenerationTask>;

/** GSM8K (Cobbe et al. 2021) as lm-eval's `gsm8k`, version 3. */
export const gsm8k: GenerationTask = {
  ...common,
  name: "gsm8k",
  summary: "GSM8K: grade-school sums with five worked examples",
  fewshot: { from: "split", split: "train", choice: "sample", count: 5 },
  generation: { until: ["Question:", "</s>", "<|im_end|>"], do_sample: false, temperature: 0 },
  filters: [strict("#### (\\-?[0-9\\.\\,]+)"), flexible],
  readRow: (doc, where) => {
    const { question, answer } = readTexts(doc, ["question", "answer"], where);
    return { doc, text: `Question: ${question}\nAnswer:`, answer };
  },
};

/** With the eight chains of thought of Wei et al. 2022, as lm-eval's `gsm8k_cot`, version 3. */
export const gsm8kCot: GenerationTask = {
  ...common,
  name: "gsm8k_cot",
  summary: "GSM8K: with eight chains of thought before it",
  fewshot: {
    from: "list",
    shots: gsm8kChains.map(
      ({ question, thoughts, result }): Shot => ({
        text: cotText(question),
        answer: `${thoughts} The answer is ${result}.`,
      }),
    ),
    count: 8,
  },
  generation: { do_sample: false, until: ["Q:", "</s>", "<|im_end|>"] },
  filters: [strict("The answer is (\\-?[0-9\\.\\,]+)."), flexible],
  readRow: (doc, where) => {
    const { question, answer } = readTexts(doc, ["question", "answer"], where);
    return { doc, text: cotText(question), answer: afterMark(answer) };
  },
};

/** Asked to think step by step, without examples, as lm-eval's `gsm8k_cot_zeroshot`, version 3. */
export const gsm8kCotZeroshot: GenerationTask = {
  ...common,
  name: "gsm8k_cot_zeroshot",
  summary: "GSM8K: asked to think step by step, no examples",
  fewshot: { from: "none", count: 0 },
  generation: { until: ["Q:", "</s>", "<|im_end|>"], do_sample: false },
  filters: [strict("The answer is (\\-?[0-9\\.\\,]+)."), flexible],
  readRow: (doc, where) => {
    const { question, answer } = readTexts(doc, ["question", "answer"], where);
    return { doc, text: `Q: ${question}\nA: Let's think step by step.`, answer };
  },
};

/**
 * As Llama 3's own evaluations ask it, as lm-eval's `gsm8k_cot_llama`, version 4: made for chats, with shots as turns
 * (`--apply-chat-template`).
 */
export const gsm8kCotLlama: GenerationTask = {
  ...common,
  name: "gsm8k_cot_llama",
  version: 4,
  summary: "GSM8K: as Llama's evaluations ask it of chats, with eight chains of thought",
  fewshot: {
    from: "list",
    shots: gsm8kChains.map(
      ({ question, thoughts, result }): Shot => ({
        text: llamaText(question),
        answer: `${thoughts} The final answer is ${result}`,
      }),
    ),
    count: 8,
  },
  prompt: { targetDelimiter: "" },
  generation: {
    do_sample: false,
    until: ["<|eot_id|>", "<|start_header_id|>user<|end_header_id|>", "Q:", "</s>", "<|im_end|>"],
  },
  filters: [strict("The final answer is ((-?[$0-9.,]{2,})|(-?[0-9]+))", -1), flexible],
  readRow: (doc, where) => {
    const { question, answer } = readTexts(doc, ["question", "answer"], where);
    return { doc, text: llamaText(question), answer: afterMark(answer) };
  },
};

function cotText(question: string): string {
  return `Q: ${question}\nA:`;
}

function llamaText(question: string): string {
  return [
    "Given the following problem, reason and give a final answer to the problem.",
    `Problem: ${question}`,
    'Your response should end with "The final answer is [answer]" where [answer] is the response to the problem.',
    "",
  ].join("\n");
}

/** The final number stands behind the mark. */
function afterMark(answer: string): string {
  return answer.split("####").at(-1)!.trim();
}
