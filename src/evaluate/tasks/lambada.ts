import { perplexity, share } from "../metrics/metric.ts";
import { readTexts } from "../row-reader.ts";
import type { LikelihoodTask } from "../task.ts";

/** LAMBADA in OpenAI's form (Paperno et al. 2016, Radford et al. 2019) as lm-eval's `lambada_openai`, version 1. */
export const lambadaOpenai: LikelihoodTask = {
  kind: "loglikelihood",
  name: "lambada_openai",
  version: 1,
  summary: "LAMBADA: the last word of a passage",
  files: {
    root: "data",
    hub: { repo: "EleutherAI/lambada_openai", config: "default" },
    splits: { test: ["lambada/lambada_test.jsonl"] },
    defaultSplit: "test",
  },
  fewshot: { from: "none", count: 0 },
  metrics: [perplexity("perplexity"), share("acc")],
  readRow: (doc, where) => {
    const pieces = readTexts(doc, ["text"], where).text.split(" ");
    return { doc, text: pieces.slice(0, -1).join(" "), answer: ` ${pieces.at(-1)}` };
  },
  score: (_question, { logLikelihood, isGreedy }) => ({ perplexity: logLikelihood, acc: isGreedy ? 1 : 0 }),
};
