import { collectAfter } from "../base/collect-garbage.ts";
import { MillraceError } from "../base/errors.ts";
import type { ModelWeights } from "../formats/checkpoint.ts";
import type { ModelConfig } from "../formats/model-config.ts";
import type { Ops } from "../kernels/ops.ts";
import { SequenceLogits } from "../model/forward-once.ts";
import { loadModel } from "../model/load-model.ts";

/** Tokens of a prompt, and tokens that are drawn after it. */
const promptLength = 16;
const answerLength = 12;

/** Elements of the matrices that are packed between two collections. */
const collectedElements = 1 << 21;

export interface GateParts {
  readonly written: ModelWeights;
  readonly base: ModelWeights;
  /** Of which the first two are taken; null for ids of no meaning. */
  readonly prompts: readonly Int32Array[] | null;
  /** Kernels that serve, to be closed by the gate. */
  readonly openOps: () => Ops;
}

/**
 * Answers a few prompts greedily with the kernels that serve. Throws `model_degenerate` where logits are not finite or all
 * answers are one token over and over, and the float model does better. Returns a note on what was seen.
 */
export function checkAnswers({ written, base, prompts, openOps }: GateParts): string {
  const cut = (prompts ?? madeUpPrompts(written.config)).slice(0, 2).map((ids) => ids.slice(0, promptLength));
  const found = answersOf(written, cut, openOps);
  const fault = faultOf(found);
  if (fault === null) {
    const lengths = [...new Set(cut.map(({ length }) => length))].join(" and ");
    return `The written model answered ${cut.length} prompts of ${lengths} tokens with ${answerLength} tokens each; all logits were finite.`;
  }
  const float = answersOf(base, cut, openOps);
  const isNoBetter = found === null ? float === null : faultOf(float) !== null;
  if (isNoBetter) return `The written model ${fault}; the float model is no better: it ${faultOf(float)}.`;
  throw new MillraceError(
    "model_degenerate",
    `The quantised model ${fault}; the float model does not. Nothing was written. Use more bits, another method, or leave linears dense with --ignore.`,
  );
}

/** What is wrong with the answers of a model, or null. */
function faultOf(answers: Answers): string | null {
  if (answers === null) return "gives logits that are not finite";
  return answers.every(isStuck) ? `answers with token ${answers[0]![0]} over and over` : null;
}

function madeUpPrompts({ vocabSize }: ModelConfig): readonly Int32Array[] {
  return [7919, 104_729].map((step) =>
    Int32Array.from({ length: promptLength }, (_, i) => ((i + 1) * step) % vocabSize),
  );
}

function isStuck(answer: readonly number[]): boolean {
  return answer.every((token) => token === answer[0]);
}

/** Null where a logit is not finite. */
type Answers = readonly (readonly number[])[] | null;

function answersOf(model: ModelWeights, prompts: readonly Int32Array[], openOps: () => Ops): Answers {
  const ops = openOps();
  try {
    const maxTokens = promptLength + answerLength;
    const loaded = loadModel(ops, givingBack(model), {
      dtype: "auto",
      activations: "auto",
      maxModelLen: maxTokens,
    });
    const source = new SequenceLogits({ ops, model: loaded.model, kvDtype: "f16", maxTokens });
    const answers: number[][] = [];
    for (const prompt of prompts) {
      const answer = continueGreedily(source, prompt);
      if (answer === null) return null;
      answers.push(answer);
    }
    return answers;
  } finally {
    ops.close();
  }
}

/** The same weights, whose forms outside the kernels take no more than a few matrices' memory. */
function givingBack(model: ModelWeights): ModelWeights {
  const collect = collectAfter(collectedElements);
  let numLast = 0;
  return {
    path: model.path,
    config: model.config,
    has: (name) => model.has(name),
    linear: (module) => {
      // Before the next is read: an array that outlives a collection is not given back by those that follow.
      collect(numLast);
      const weight = model.linear(module);
      numLast = weight.rows * weight.cols;
      return weight;
    },
    vector: (name) => model.vector(name),
    dropPages: () => model.dropPages(),
  };
}

function continueGreedily(source: SequenceLogits, prompt: Int32Array): number[] | null {
  const { vocabSize } = source;
  const ids = new Int32Array(prompt.length + answerLength);
  ids.set(prompt);
  const rows = new Float32Array(prompt.length * vocabSize);
  let first = 0;
  for (let end = prompt.length; end < ids.length; end += 1) {
    const count = end - first;
    source.read(ids, first, count, rows);
    const last = rows.subarray((count - 1) * vocabSize, count * vocabSize);
    let best = 0;
    for (let token = 0; token < vocabSize; token += 1) {
      if (!(Math.abs(last[token]!) < Infinity)) return null;
      if (last[token]! > last[best]!) best = token;
    }
    ids[end] = best;
    first = end;
  }
  return [...ids.subarray(prompt.length)];
}
