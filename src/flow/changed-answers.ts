import type { AccuracyRow, ChangedAnswer } from "../records/comparison.ts";
import type { EvaluationSample } from "../records/evaluation.ts";

/** Of each task and change; the flips count them all. */
const maxListed = 100;

/** What both models answered where only one was right, by the first metric of a task that has right and wrong. */
export function changedAnswers(
  row: AccuracyRow,
  pairs: readonly (readonly [EvaluationSample, EvaluationSample])[],
): ChangedAnswer[] {
  const { task, metric, flips } = row;
  if (flips === null) return [];
  const [, filter] = metric.split(",");
  const own = filter === undefined ? pairs : pairs.filter(([base]) => base.filter === filter);
  return (["lost", "gained"] as const).flatMap((change) => {
    const ids = new Set(flips[change].slice(0, maxListed));
    return own
      .filter(([base]) => ids.has(base.doc_id))
      .map(([base, compressed]) => ({ task, metric, change, ...describeAnswers(base, compressed) }));
  });
}

function describeAnswers(
  base: EvaluationSample,
  compressed: EvaluationSample,
): Omit<ChangedAnswer, "task" | "metric" | "change"> {
  const [a, b] = [logLikelihoodsOf(base), logLikelihoodsOf(compressed)];
  const prompts = base.arguments.map(([prompt]) => textOf(prompt));
  // Either the choices follow one context, or one text follows several.
  const isOneContext = new Set(prompts).size === 1;
  const common = {
    docId: base.doc_id,
    prompt: isOneContext ? prompts[0]! : "",
    target: String(base.target),
  };
  if (a.length === 0 || b.length !== a.length) {
    const textsOf = (sample: EvaluationSample): string => sample.resps.flat().map(String).join("\n");
    return { ...common, choices: null, written: { base: textsOf(base), compressed: textsOf(compressed) } };
  }
  const choices = base.arguments.map(([context, continuation], i) => ({
    text: isOneContext ? textOf(continuation) : textOf(context) + textOf(continuation),
    base: a[i]!,
    compressed: b[i]!,
  }));
  return { ...common, choices, written: null };
}

function logLikelihoodsOf({ filtered_resps: responses }: EvaluationSample): number[] {
  return responses.flatMap((response) => {
    const [first] = typeof response === "object" ? response : [];
    return typeof first === "number" ? [first] : [];
  });
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : (JSON.stringify(value) ?? "");
}
