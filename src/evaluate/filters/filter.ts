import type { Question } from "../task.ts";

/** Makes an answer of an answer. */
export type Filter = (answer: string, question: Question) => string;

/** Chooses among the repeated answers of one document; there is always one. */
export type Selection = (answers: readonly string[]) => readonly string[];

/** Filters in order; the name stands behind the metric's in results, "none" where nothing is filtered. */
export interface FilterPipeline {
  readonly name: string;
  readonly steps: readonly (Filter | { readonly choose: Selection })[];
  /** Does not end by taking the first answer: samples hold the list, though it has one entry. */
  readonly keepsList?: boolean;
}

/** What a filter gives where an answer does not have the wanted form. */
export const invalidAnswer = "[invalid]";

/** lm-eval's pipeline of a task that names none. */
export const noFilter: FilterPipeline = { name: "none", steps: [] };

/** The one answer that is left of a document's repeats. */
export function applyFilters(
  { steps }: FilterPipeline,
  answers: readonly string[],
  question: Question,
): string {
  const left = steps.reduce<readonly string[]>(
    (texts, step) =>
      typeof step === "function" ? texts.map((text) => step(text, question)) : step.choose(texts),
    answers,
  );
  return left[0]!;
}

/** lm-eval's `majority_vote`: the most frequent answer, of equally frequent ones the first. */
export const majorityVote: Selection = (answers) => {
  const counts = new Map<string, number>();
  for (const answer of answers) counts.set(answer, (counts.get(answer) ?? 0) + 1);
  const highest = Math.max(...counts.values());
  return [[...counts.keys()].find((answer) => counts.get(answer) === highest)!];
};
