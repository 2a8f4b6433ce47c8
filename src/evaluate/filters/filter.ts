import type { Question } from "../task.ts";

/** Makes an answer of an answer. */
export type Filter = (answer: string, question: Question) => string;

/** Filters in order; the name stands behind the metric's in results, "none" where nothing is filtered. */
export interface FilterPipeline {
  readonly name: string;
  readonly steps: readonly Filter[];
}

/** What a filter gives where an answer does not have the wanted form. */
export const invalidAnswer = "[invalid]";

/** lm-eval's pipeline of a task that names none. */
export const noFilter: FilterPipeline = { name: "none", steps: [] };

export function applyFilters({ steps }: FilterPipeline, answer: string, question: Question): string {
  return steps.reduce((text, step) => step(text, question), answer);
}
